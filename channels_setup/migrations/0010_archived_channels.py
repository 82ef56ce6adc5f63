from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0009_retention_help_texts")]

    operations = [
        migrations.AddField(
            model_name="apichannel",
            name="archived_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="archived"),
        ),
    ]
