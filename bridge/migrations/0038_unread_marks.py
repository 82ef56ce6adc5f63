from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0037_chat_pins'),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='unread_marked_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
