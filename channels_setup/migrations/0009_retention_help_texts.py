
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channels_setup', '0008_alert_routes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apichannel',
            name='keep_events_days',
            field=models.PositiveIntegerField(blank=True, help_text="Raw requests contain messages and phone numbers. Empty: the portal's rule. 0: no limit.", null=True, validators=[django.core.validators.MaxValueValidator(36500)], verbose_name='keep raw requests for, days'),
        ),
        migrations.AlterField(
            model_name='apichannel',
            name='keep_files_days',
            field=models.PositiveIntegerField(blank=True, help_text="Files of older messages are deleted from the disk. Empty: the portal's rule. 0: as long as the message.", null=True, validators=[django.core.validators.MaxValueValidator(36500)], verbose_name='keep files for, days'),
        ),
        migrations.AlterField(
            model_name='apichannel',
            name='keep_messages_days',
            field=models.PositiveIntegerField(blank=True, help_text="Older messages lose their text, files and provider IDs; reports still count them. Empty: the portal's rule. 0: until the client's data is erased.", null=True, validators=[django.core.validators.MaxValueValidator(36500)], verbose_name='keep messages for, days'),
        ),
    ]
