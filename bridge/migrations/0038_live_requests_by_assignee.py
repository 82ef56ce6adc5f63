"""Index for the live requests of a user, built beside the running portal."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0037_write_probe")]

    operations = [
        AddIndexConcurrently(
            "ticket",
            models.Index(
                fields=["assignee"],
                condition=models.Q(
                    ("assignee__isnull", False), models.Q(("status__in", [3, 4, 7, 10]), _negated=True)
                ),
                name="tickets_live_of_assignee",
            ),
        ),
    ]
