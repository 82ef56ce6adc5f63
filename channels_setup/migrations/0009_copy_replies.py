"""A watcher may ask for copies of operators' replies."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channels_setup', '0008_resumed_at'),
    ]

    operations = [
        migrations.AddField(
            model_name='apichannel',
            name='copy_replies',
            field=models.BooleanField(db_default=False, default=False, help_text='In chats of other API channels that this one only watches. For a program that follows chats, such as a CRM. Leave it off if the Redirect URL delivers messages to clients: it might send each reply a second time.', verbose_name="Also copy operators' replies"),
        ),
    ]
