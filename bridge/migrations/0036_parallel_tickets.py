"""Indexes for several live requests a chat, built beside the running portal.

The old uniqueness goes last: until then nothing writes a second live request of messages.
"""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

LIVE = models.Q(("status__in", [3, 4, 7, 10]), _negated=True)
ONE = models.UniqueConstraint(
    fields=("conversation",),
    condition=models.Q(LIVE, ("parallel", False)),
    name="one_live_ticket_of_messages_per_chat",
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0035_ticket_properties")]

    operations = [
        AddIndexConcurrently(
            "ticket", models.Index(fields=["conversation", "-id"], condition=LIVE, name="tickets_live_of_conversation")
        ),
        AddIndexConcurrently(
            "ticket",
            GinIndex(fields=["tags"], condition=models.Q(("tags", []), _negated=True), name="tickets_by_tag"),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AddConstraint("ticket", ONE)],
            database_operations=[
                migrations.RunSQL(
                    """CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_live_ticket_of_messages_per_chat
                       ON bridge_ticket (conversation_id) WHERE status NOT IN (3, 4, 7, 10) AND NOT parallel""",
                    "DROP INDEX CONCURRENTLY IF EXISTS one_live_ticket_of_messages_per_chat",
                )
            ],
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveConstraint("ticket", "one_live_ticket_per_conversation")],
            database_operations=[
                migrations.RunSQL(
                    "DROP INDEX CONCURRENTLY IF EXISTS one_live_ticket_per_conversation",
                    """CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_live_ticket_per_conversation
                       ON bridge_ticket (conversation_id) WHERE status NOT IN (3, 4, 7, 10)""",
                )
            ],
        ),
    ]
