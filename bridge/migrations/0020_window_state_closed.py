"""Rename the window state "shut" to "closed", and the reason codes that carried the word.

Rows are updated in batches, indexes are built concurrently. Processes of the release before may still write "shut"
while this runs and until they are restarted: a trigger turns it into "closed", so no row is left behind. A later
release drops the trigger.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

BATCH = 5_000

CODES = (
    ("window_shut", "window_closed"),
    ("window_shut_before_sending", "window_closed_before_sending"),
    ("window_shut_since", "window_closed_since"),
    ("wa_window_shut", "wa_window_closed"),
)
OLD = "(" + ", ".join(f"'{old}'" for old, _ in CODES) + ")"
COLUMNS = (
    ("bridge_message", "reason"),
    ("bridge_delivery", "reason"),
    ("bridge_attempt", "reason"),
    ("bridge_ruling", "was_reason"),
    ("bridge_draft", "reason"),
)


def renamed(value):
    return f"CASE {value} " + " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in CODES) + f" ELSE {value} END"


STATEMENTS = (
    ("bridge_servicewindow", "UPDATE bridge_servicewindow SET state = 'closed' WHERE {range} AND state = 'shut'"),
    *(
        (table, f"UPDATE {table} SET {column} = {renamed(column)} WHERE {{range}} AND {column} IN {OLD}")
        for table, column in COLUMNS
    ),
    (
        "bridge_message",
        "UPDATE bridge_message SET details = jsonb_set(details, '{{why_code}}', to_jsonb("
        + renamed("(details ->> 'why_code')")
        + "::text)) WHERE {range} AND direction = 'notice' AND details ->> 'why_code' IN "
        + OLD,
    ),
)

TRIGGER = """
CREATE FUNCTION bridge_window_state_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state := 'closed';
    RETURN NEW;
END $$;
CREATE TRIGGER window_state_closed BEFORE INSERT OR UPDATE OF state ON bridge_servicewindow
    FOR EACH ROW WHEN (NEW.state = 'shut') EXECUTE FUNCTION bridge_window_state_closed();
"""
NO_TRIGGER = """
DROP TRIGGER IF EXISTS window_state_closed ON bridge_servicewindow;
DROP FUNCTION IF EXISTS bridge_window_state_closed();
"""


def rename(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, statement in STATEMENTS:
            cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table}")
            last = cursor.fetchone()[0]
            for begin in range(0, last, BATCH):
                cursor.execute(statement.format(range=f"id > {begin} AND id <= {begin + BATCH}"))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [('bridge', '0019_quoting_replies')]

    operations = [
        migrations.RunSQL(TRIGGER, NO_TRIGGER),
        migrations.AlterField(
            model_name='servicewindow',
            name='state',
            field=models.CharField(choices=[('open', 'open'), ('closed', 'closed')], default='open', max_length=10, verbose_name='state'),
        ),
        migrations.RunPython(rename, migrations.RunPython.noop, elidable=True),
        AddIndexConcurrently(
            model_name='servicewindow',
            index=models.Index(condition=models.Q(('state', 'closed')), fields=['expires_at'], include=('conversation',), name='windows_closed'),
        ),
        RemoveIndexConcurrently(model_name='servicewindow', name='windows_shut'),
    ]
