"""Known chats: contacts and conversations of an ordinary batch, found and locked by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from bridge.models import Contact, Conversation
from bridge.row_reads import RowReader
from channels_setup import prepared_statements
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import MessageReceived

from .contacts import MAX_LENGTHS
from .erased_ids import fingerprint_erased

CONTACTS, CONVERSATIONS = RowReader(Contact, "p"), RowReader(Conversation, "c")

# Locks conversations in the order of their IDs, but only if all of the batch are known and nothing about their contacts
# changes: creating or changing a contact locks it, and contacts are locked before conversations. Subqueries with LIMIT
# stay lookups in a unique index, one for each contact, also on tables that were never analyzed. `(SELECT …)`: see
# `message_lookup`. While this waits for a lock, a conversation may move to another contact by a merge: then its row no
# longer matches and is left out.
LOCK_KNOWN_CHATS_SQL = f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(external_ids)s::text[], %(user_ids)s::text[], %(names)s::text[], %(usernames)s::text[],
        %(has_phone)s::bool[], %(has_email)s::bool[])
        AS w(external_id, user_id, name, username, has_phone, has_email)
), known AS MATERIALIZED (
    SELECT c.id FROM wanted w
    CROSS JOIN LATERAL (
        SELECT * FROM bridge_contact
        WHERE api_channel_id = (SELECT %(api_channel)s::bigint) AND external_id = w.external_id AND external_id <> ''
        LIMIT 1
    ) p
    CROSS JOIN LATERAL (
        SELECT id FROM bridge_conversation WHERE contact_id = p.id AND chat_channel_id = %(chat_channel)s LIMIT 1
    ) c
    WHERE p.merged_into_id IS NULL AND NOT EXISTS (
            SELECT FROM bridge_erasedmessage
            WHERE api_channel_id = %(api_channel)s AND fingerprint = ANY(%(fingerprints)s::bytea[]))
        AND w.user_id IN ('', p.user_id) AND w.username IN ('', p.username)
        AND (w.name IN ('', p.name) OR p.name_source = 'person')
        AND (p.phone <> '' OR NOT w.has_phone) AND (p.email <> '' OR NOT w.has_email)
)
SELECT {CONTACTS.columns}, {CONVERSATIONS.columns}
FROM bridge_conversation c JOIN bridge_contact p ON p.id = c.contact_id
WHERE c.id = ANY(ARRAY(SELECT id FROM known)) AND (SELECT count(*) FROM known) = (SELECT count(*) FROM wanted)
ORDER BY c.id FOR NO KEY UPDATE OF c
"""


def lock_known_chats(
    api_channel: ApiChannel, facts: Sequence[MessageReceived], chat_channel: ChatChannel | None
) -> list[Conversation] | None:
    """Lock and return the conversations of these messages, in their order. None if not all of them are ordinary.

    Ordinary: no message was erased; the provider's IDs are those of a contact that was not merged into another one,
    whose stored data does not change, and who has a conversation. ``contacts`` and ``receiving`` handle the others.
    """
    people = [fact.contact for fact in facts]
    if not facts or chat_channel is None or not all(info.external_id and not info.caller_id for info in people):
        return None
    wanted = {
        (
            info.external_id[: MAX_LENGTHS["external_id"]],
            info.user_id[: MAX_LENGTHS["user_id"]],
            visible_name(info.name, MAX_LENGTHS["name"]),
            info.username[: MAX_LENGTHS["username"]],
            bool(info.phone),
            bool(info.email),
        )
        for info in people
    }
    names = ("external_ids", "user_ids", "names", "usernames", "has_phone", "has_email")
    parameters: dict[str, Any] = {
        **dict(zip(names, map(list, zip(*wanted, strict=True)), strict=True)),
        "api_channel": api_channel.pk,
        "chat_channel": chat_channel.pk,
        "fingerprints": [fingerprint_erased(fact.external_id) for fact in facts if fact.external_id],
    }
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, LOCK_KNOWN_CHATS_SQL, parameters)
        rows = cursor.fetchall()
    found: dict[str, Conversation] = {}
    for row in rows:
        conversation = CONVERSATIONS.read(row[CONTACTS.width :])
        conversation.contact = CONTACTS.read(row[: CONTACTS.width])
        conversation.chat_channel, conversation.api_channel = chat_channel, api_channel
        found[conversation.contact.external_id] = conversation
    keys = [info.external_id[: MAX_LENGTHS["external_id"]] for info in people]
    return [found[key] for key in keys] if all(key in found for key in keys) else None
