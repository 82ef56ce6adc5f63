from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0012_webhook_addresses_filled")]

    operations = [
        migrations.RemoveField(model_name="apichannel", name="path_token"),
        migrations.RemoveField(model_name="chatchannel", name="path_token"),
    ]
