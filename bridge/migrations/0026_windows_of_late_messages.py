"""Record closed windows for chats whose client's messages all reached us after their 24 hours.

Such chats had no window at all and were shown as if the client had never written. In batches.
"""

from django.db import migrations

BATCH = 5_000
RECORD = """
INSERT INTO bridge_servicewindow (conversation_id, opened_at, expires_at, state, opened_by_id, missed, assignee_id)
SELECT c.id, m.provider_time, m.provider_time + interval '24 hours', 'closed', m.id, TRUE, c.assignee_id
FROM bridge_conversation c
CROSS JOIN LATERAL (
    SELECT id, provider_time FROM bridge_message
    WHERE conversation_id = c.id AND direction = 'inbound' AND provider_time < clock_timestamp()
    ORDER BY provider_time DESC LIMIT 1
) m
WHERE c.id > %s AND c.id <= %s
  AND NOT EXISTS (SELECT FROM bridge_servicewindow w WHERE w.conversation_id = c.id)
"""


def record(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM bridge_conversation")
        last = cursor.fetchone()[0]
        for begin in range(0, last, BATCH):
            cursor.execute(RECORD, [begin, begin + BATCH])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [('bridge', '0025_late_messages_and_corrections')]

    operations = [migrations.RunPython(record, migrations.RunPython.noop, elidable=True)]
