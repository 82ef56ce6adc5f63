"""Indexes for the identity of contacts, built beside the running portal."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

CALLER_ID = models.UniqueConstraint(
    condition=models.Q(("caller_id", ""), _negated=True),
    fields=("api_channel", "caller_id"),
    name="one_contact_per_caller_id",
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0022_contact_identity_filled")]

    operations = [
        AddIndexConcurrently(
            model_name="contact",
            index=models.Index(
                condition=models.Q(("phone_key", ""), _negated=True),
                fields=["phone_key", "api_channel"],
                name="contacts_by_phone_key",
            ),
        ),
        AddIndexConcurrently(
            model_name="contact",
            index=models.Index(
                condition=models.Q(("address_key", ""), _negated=True),
                fields=["address_key", "api_channel"],
                name="contacts_by_address_key",
            ),
        ),
        AddIndexConcurrently(
            model_name="contact",
            index=models.Index(
                condition=models.Q(("moved_to__isnull", False)), fields=["moved_to"], name="contacts_moved"
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AddConstraint(model_name="contact", constraint=CALLER_ID)],
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_contact_per_caller_id "
                    "ON bridge_contact (api_channel_id, caller_id) WHERE NOT (caller_id = '')",
                    "DROP INDEX IF EXISTS one_contact_per_caller_id",
                )
            ],
        ),
    ]
