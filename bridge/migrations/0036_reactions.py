from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0035_image_sizes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='delivery',
            name='kind',
            field=models.CharField(choices=[('message', 'message to the contact'), ('reaction', "reaction to the contact's message"), ('event', 'event for an API channel'), ('helpdesk', 'message to the helpdesk'), ('note', "note to the helpdesk's operators"), ('alert', 'alert message'), ('alert_mail', 'alert email')], max_length=10, verbose_name='kind'),
        ),
    ]
