"""One message per form key, indexed without blocking writers."""

from django.db import migrations, models

NAME = "one_message_per_form_key"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0031_form_keys")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint(
                    model_name="message",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("form_key", ""), _negated=True),
                        fields=("conversation", "form_key"),
                        name=NAME,
                    ),
                ),
            ],
            database_operations=[
                # An interrupted build leaves an invalid index: drop it and start again.
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}", migrations.RunSQL.noop),
                migrations.RunSQL(
                    f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON bridge_message (conversation_id, form_key)"
                    " WHERE NOT (form_key = '')",
                    f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}",
                ),
            ],
        ),
    ]
