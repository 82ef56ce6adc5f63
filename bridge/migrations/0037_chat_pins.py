import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # each table is locked for its own statement only

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('bridge', '0036_reactions'),
    ]

    operations = [
        migrations.CreateModel(
            name='ChatPin',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pins', to='bridge.conversation')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'pinned chat',
                'verbose_name_plural': 'pinned chats',
                'constraints': [models.UniqueConstraint(fields=('user', 'conversation'), name='one_pin_per_chat_and_operator')],
            },
        ),
    ]
