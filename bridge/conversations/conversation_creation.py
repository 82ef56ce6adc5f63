"""Conversations of contacts: found and locked, or created."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection

from bridge.models import Contact, Conversation
from channels_setup.models import ApiChannel, ChatChannel

from . import merge_lookup
from .known_chats import CONVERSATIONS


def get_or_create_conversations(
    api_channel: ApiChannel, pairs: Iterable[tuple[Contact, ChatChannel]]
) -> tuple[dict[tuple[int, int], Conversation], set[int]]:
    """Lock or create conversations. Return them by (contact ID, chat channel ID), and the IDs of new ones.

    A merged contact's conversation is that of the contact it was merged into.
    """
    pairs = list(pairs)
    owners = merge_lookup.get_owners(contact for contact, _chat_channel in pairs)
    owned = {
        (contact.owner_id, chat_channel.pk): (owners[contact.owner_id], chat_channel) for contact, chat_channel in pairs
    }
    found = _lock_conversations(owned.keys())
    missing = sorted(owned.keys() - found.keys())
    new_chat_ids: set[int] = set()
    if missing:
        created = Conversation.objects.bulk_create(
            [
                Conversation(api_channel=api_channel, contact_id=contact_id, chat_channel_id=chat_channel_id)
                for contact_id, chat_channel_id in missing
            ],
            ignore_conflicts=True,
        )
        if merge_lookup.is_any_merged(row.contact_id for row in created):
            merge_lookup.delete_empty_conversations(missing)
            current = Contact.objects.in_bulk({contact.pk for contact, _chat_channel in pairs})
            return get_or_create_conversations(
                api_channel, [(current[contact.pk], channel) for contact, channel in pairs]
            )
        found = _lock_conversations(owned.keys())
        # Another transaction may have inserted it. The one that locks it while it has no messages reports it as new.
        new_chat_ids = _find_empty_chats([found[pair].pk for pair in missing])
    if any(contact.merged_into_id for contact, _chat_channel in pairs):
        # A merge may have been undone while we waited for the lock. From here on, an undo waits for us.
        current = Contact.objects.in_bulk({contact.pk for contact, _chat_channel in pairs})
        if any(current[contact.pk].owner_id != contact.owner_id for contact, _chat_channel in pairs):
            return get_or_create_conversations(
                api_channel, [(current[contact.pk], channel) for contact, channel in pairs]
            )
    for pair, conversation in found.items():
        # Already loaded: a join costs more than the query itself.
        if pair in owned:
            conversation.contact, conversation.chat_channel = owned[pair]
            conversation.api_channel = api_channel
    return {(contact.pk, channel.pk): found[contact.owner_id, channel.pk] for contact, channel in pairs}, new_chat_ids


# LIMIT: one look-up in one_conversation_per_contact_and_channel for each pair, also on a table that was never analyzed.
# Locks are taken in the order of the IDs, the same everywhere, against deadlocks.
LOCK_CONVERSATIONS_SQL = f"""
SELECT {CONVERSATIONS.columns} FROM bridge_conversation c WHERE c.id = ANY(ARRAY(
    SELECT found.id FROM unnest(%s::bigint[], %s::bigint[]) AS wanted(contact_id, chat_channel_id), LATERAL (
        SELECT id FROM bridge_conversation r
        WHERE r.contact_id = wanted.contact_id AND r.chat_channel_id = wanted.chat_channel_id LIMIT 1
    ) found
)) ORDER BY c.id FOR NO KEY UPDATE
"""


def _lock_conversations(pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Conversation]:
    """Lock these pairs' conversations. One that a merge moved while this waited for its lock is left out."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_CONVERSATIONS_SQL, [list(column) for column in zip(*pairs, strict=True)] or [[], []])
        rows = [CONVERSATIONS.read(values) for values in cursor.fetchall()]
    by_pair = {(row.contact_id, row.chat_channel_id): row for row in rows}
    return {pair: by_pair[pair] for pair in pairs if pair in by_pair}


# LIMIT: one look-up in messages_of_conversation for each chat, also on a table that was never analyzed.
FIND_EMPTY_CHATS_SQL = """
SELECT chat.id FROM unnest(%s::bigint[]) AS chat(id) LEFT JOIN LATERAL (
    SELECT m.id FROM bridge_message m WHERE m.conversation_id = chat.id LIMIT 1
) m ON TRUE WHERE m.id IS NULL
"""


def _find_empty_chats(ids: list[int]) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(FIND_EMPTY_CHATS_SQL, [ids])
        return {row[0] for row in cursor.fetchall()}
