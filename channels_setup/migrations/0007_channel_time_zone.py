from django.db import migrations, models

import channels_setup.time_zones


class Migration(migrations.Migration):

    dependencies = [
        ('channels_setup', '0006_team_members_are_people'),
    ]

    operations = [
        migrations.AddField(
            model_name='chatchannel',
            name='time_zone',
            field=models.CharField(blank=True, db_default='', default='', help_text="Working hours, reminders and reports of this channel follow it. Empty: the portal's setting TIME_ZONE. Pages show times in the time zone of the reader's profile.", max_length=64, validators=[channels_setup.time_zones.validate_time_zone], verbose_name='time zone'),
        ),
    ]
