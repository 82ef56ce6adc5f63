from django.db import migrations, models

import channels_setup.secrecy


def give_paths(apps, schema_editor):
    """Chat channels that were there before get a webhook path of their own, too."""
    for chat_channel in apps.get_model("channels_setup", "ChatChannel").objects.filter(path_token=None):
        chat_channel.path_token = channels_setup.secrecy.new_path_token()
        chat_channel.save(update_fields=["path_token"])


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0006_account_settings")]

    operations = [
        migrations.AddField(
            model_name="chatchannel",
            name="options",
            field=models.JSONField(blank=True, default=dict, editable=False, verbose_name="options"),
        ),
        migrations.AddField(
            model_name="chatchannel", name="secret", field=models.BinaryField(editable=False, null=True)
        ),
        migrations.AddField(
            model_name="chatchannel",
            name="path_token",
            field=models.CharField(editable=False, max_length=64, null=True),
        ),
        migrations.RunPython(give_paths, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="chatchannel",
            name="path_token",
            field=models.CharField(
                default=channels_setup.secrecy.new_path_token, editable=False, max_length=64, unique=True
            ),
        ),
    ]
