"""Phone keys for the contacts that are there already, and their ids in the right namespace.

Works in batches, each a short transaction of its own. Running it twice changes nothing more.
"""

import re

from django.db import migrations

from channels_setup.codecs.phone_numbers import id_key, phone_key

BATCH = 5_000
DIGITS = re.compile(r"[0-9]{5,20}")
ROWS = """
SELECT c.id, c.phone, c.external_id, c.user_id, a.kind
FROM bridge_contact c JOIN channels_setup_apichannel a ON a.id = c.api_channel_id
WHERE c.id > %s AND c.id <= %s
"""
KEYS = """
UPDATE bridge_contact c SET phone_key = v.phone_key, address_key = v.address_key
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS v(id, phone_key, address_key)
WHERE c.id = v.id AND (c.phone_key, c.address_key) <> (v.phone_key, v.address_key)
"""
# A program's own id is no number at WhatsApp: an answer would have gone to whoever has that number. Whoever wrote from
# WhatsApp is reached by the id, whatever phone a program put on the card later. The scalar subquery walks the indexes
# of the few contacts asked about; the planner would make a join of an EXISTS, and may read all messages for it.
CALLERS = """
UPDATE bridge_contact c SET caller_id = external_id, external_id = '', address_key = ''
WHERE c.id = ANY(%s) AND c.caller_id = '' AND (
    SELECT TRUE FROM bridge_conversation v JOIN bridge_message m ON m.conversation_id = v.id
    WHERE v.contact_id = c.id AND m.api_channel_id = c.api_channel_id
    AND m.direction = 'inbound' AND starts_with(m.external_id, 'wamid.')
    LIMIT 1
) IS NULL
"""
# The only id that a program can have for them is ours, as create/client or addMessage gave it out.
ISSUED = """
UPDATE bridge_contact SET number_issued = TRUE
WHERE id > %s AND id <= %s AND external_id = '' AND user_id = '' AND caller_id = '' AND erased_at IS NULL
"""


def is_callers(phone, external_id, user_id, kind):
    """Tell an id that a program gave from a number at WhatsApp, which always came with its phone or a user id."""
    if kind != "whatsapp_cloud" or not external_id or user_id:
        return False
    # Some countries have numbers too short for a key: Andorra, the Faroe Islands.
    if DIGITS.fullmatch(external_id) and phone in ("", external_id, f"+{external_id}"):
        return False
    return not id_key(external_id) or bool(phone and phone_key(phone) != id_key(external_id))


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM bridge_contact")
        last = cursor.fetchone()[0]
        for begin in range(0, last, BATCH):
            cursor.execute(ROWS, [begin, begin + BATCH])
            rows = cursor.fetchall()
            cursor.execute(
                KEYS,
                [
                    [row[0] for row in rows],
                    [phone_key(row[1]) for row in rows],
                    [id_key(row[2]) for row in rows],
                ],
            )
            cursor.execute(ISSUED, [begin, begin + BATCH])
            cursor.execute(CALLERS, [[row[0] for row in rows if is_callers(*row[1:])]])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0021_contact_identity")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
