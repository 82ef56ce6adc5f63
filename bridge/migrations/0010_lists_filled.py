"""What the lists go by, for the rows that are there already: in batches, each a short transaction of its own."""

from django.db import migrations

BATCH = 5_000
ENDED = (3, 4, 7, 10)

STATUS = f"""
UPDATE bridge_conversation c SET request_status = coalesce(
    (SELECT t.status FROM bridge_ticket t WHERE t.conversation_id = c.id AND t.status NOT IN {ENDED} LIMIT 1),
    (SELECT t.status FROM bridge_ticket t WHERE t.conversation_id = c.id ORDER BY t.closed_at DESC NULLS LAST LIMIT 1))
WHERE c.id > %s AND c.id <= %s AND c.request_status IS NULL
"""
# Whether the last question was answered cannot be known any more; whether any was, can.
MISSED = """
UPDATE bridge_servicewindow w SET missed = (w.first_reply_at IS NULL), assignee_id = c.assignee_id
FROM bridge_conversation c
WHERE c.id = w.conversation_id AND w.id > %s AND w.id <= %s AND w.state = 'shut' AND w.missed IS NULL
"""


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, statement in (("bridge_conversation", STATUS), ("bridge_servicewindow", MISSED)):
            cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table}")
            last = cursor.fetchone()[0]
            for begin in range(0, last, BATCH):
                cursor.execute(statement, [begin, begin + BATCH])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [('bridge', '0009_lists')]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
