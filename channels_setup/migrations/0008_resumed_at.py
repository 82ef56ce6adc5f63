from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0007_outside_helpdesk")]

    operations = [
        migrations.AddField(
            model_name="apichannel", name="resumed_at", field=models.DateTimeField(editable=False, null=True)
        ),
    ]
