"""Teams of chats, requests, windows and reminders.

Not atomic: each table is locked for its own statement only, so that no query can wait in the other direction.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def team_field(**options):
    return models.ForeignKey(
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.SET_NULL,
        related_name="+",
        to="channels_setup.team",
        **options,
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0002_export_contact_permission"), ("channels_setup", "0002_teams")]

    operations = [
        migrations.AddField("conversation", "team", team_field(blank=True, verbose_name="team")),
        migrations.AddField("servicewindow", "team", team_field()),
        migrations.AddField("ticket", "team", team_field(blank=True, verbose_name="team")),
        migrations.AddField("closingreminder", "team", team_field()),
        AddIndexConcurrently(
            "conversation",
            models.Index(
                condition=models.Q(("team__isnull", False)),
                fields=["team", "chat_channel", "-last_message_at", "-id"],
                name="conversations_of_team",
            ),
        ),
        AddIndexConcurrently(
            "servicewindow",
            models.Index(condition=models.Q(("team__isnull", False)), fields=["team"], name="windows_of_team"),
        ),
        AddIndexConcurrently(
            "ticket",
            models.Index(
                condition=models.Q(("team__isnull", False)),
                fields=["team", "-opened_at", "-id"],
                name="tickets_of_team",
            ),
        ),
    ]
