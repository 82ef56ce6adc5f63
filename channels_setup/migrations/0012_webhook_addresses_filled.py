"""Give every channel's present webhook address its row: the providers go on calling where they do."""

from django.db import migrations

from channels_setup import secrecy

BATCH = 500


def keep_addresses(apps, schema_editor):
    """Batch by batch; a batch that was done before is skipped, so that a broken run can be repeated."""
    address = apps.get_model("channels_setup", "WebhookAddress")
    for model, owner in (("ApiChannel", "api_channel_id"), ("ChatChannel", "chat_channel_id")):
        rows = apps.get_model("channels_setup", model).objects.filter(addresses=None).order_by("pk")
        while batch := list(rows.values_list("pk", "path_token")[:BATCH]):
            address.objects.bulk_create(
                address(
                    **{owner: pk},
                    token=secrecy.encrypt(token),
                    digest=secrecy.fingerprint(token),
                    tail=secrecy.tail(token),
                )
                for pk, token in batch
            )


def put_back(apps, schema_editor):
    """The way back: each channel's current address in clear again."""
    address = apps.get_model("channels_setup", "WebhookAddress")
    for row in address.objects.filter(expires_at=None).select_related("api_channel", "chat_channel"):
        channel = row.api_channel or row.chat_channel
        channel.path_token = secrecy.decrypt(row.token)
        channel.save(update_fields=["path_token"])


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0011_webhook_addresses")]

    operations = [
        migrations.RunPython(keep_addresses, put_back),
    ]
