import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0008_dead_letters'),
        ('channels_setup', '0004_rate_limits'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='WindowWarning',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('expires_at', models.DateTimeField()),
                ('mark', models.IntegerField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'window warning',
                'verbose_name_plural': 'window warnings',
            },
        ),
        migrations.AddField(
            model_name='conversation',
            name='request_status',
            field=models.SmallIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='servicewindow',
            name='assignee',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='servicewindow',
            name='warned_mark',
            field=models.IntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='servicewindow',
            name='missed',
            field=models.BooleanField(null=True, verbose_name='missed'),
        ),
        migrations.AddField(
            model_name='windowwarning',
            name='assignee',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='windowwarning',
            name='chat_channel',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='channels_setup.chatchannel'),
        ),
        migrations.AddField(
            model_name='windowwarning',
            name='window',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='warnings', to='bridge.servicewindow'),
        ),
        migrations.AddIndex(
            model_name='windowwarning',
            index=models.Index(fields=['created_at'], name='warnings_by_age'),
        ),
        migrations.AddConstraint(
            model_name='windowwarning',
            constraint=models.UniqueConstraint(fields=('window', 'expires_at', 'mark'), name='one_warning_for_window_and_mark'),
        ),
    ]
