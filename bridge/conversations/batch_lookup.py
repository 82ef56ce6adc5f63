"""Everything that storing a batch of messages needs to know about its locked conversations, read by one statement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from bridge.models import Message, Ticket
from bridge.row_reads import RowReader
from bridge.service_window import OpenWindow
from channels_setup import prepared_statements
from channels_setup.models import ApiChannel

from .message_lookup import FIND_MESSAGES_SQL

TICKETS = RowReader(Ticket, "t")

# Runs after the conversations are locked: a statement sees what was committed before it began, so a request closed or a
# reply held by the transaction that this one waited for counts. Nothing else is locked. Each scalar subquery runs once.
# LIMIT and OFFSET keep each LATERAL look-up one search of an index, also on tables that were never analyzed.
LOOK_UP_SQL = f"""
WITH chats AS MATERIALIZED (SELECT unnest(%(conversations)s::bigint[]) AS id)
SELECT clock_timestamp(),
    (SELECT array_agg(m.id) FROM ({FIND_MESSAGES_SQL}) m),
    (SELECT array_agg(r.conversation_id) FROM bridge_heldreply r
        WHERE r.conversation_id = ANY(%(conversations)s) AND r.state = 'held'),
    (SELECT array_agg(r.target_id) FROM bridge_pendingcorrection r
        WHERE r.api_channel_id = %(api_channel)s AND r.target_id = ANY(%(external_ids)s)),
    chats.id, w.id, w.expires_at, w.merged_contact_id, {TICKETS.columns}
FROM chats
LEFT JOIN LATERAL (
    SELECT * FROM bridge_servicewindow WHERE conversation_id = chats.id AND state = 'open' LIMIT 1
) w ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM bridge_ticket
    WHERE conversation_id = chats.id AND NOT (status IN ({", ".join(str(int(status)) for status in Ticket.ENDED)}))
    OFFSET 0
) t ON TRUE
ORDER BY t.id
"""
CHAT_AT, TICKET_AT = 4, 8  # positions of the chat's and the ticket's columns


@dataclass(kw_only=True)
class BatchLookup:
    """What is stored about the conversations and messages of a batch. ``now``: the database's time."""

    now: datetime
    messages: dict[str, Message]  # already stored, by the provider's ID
    tickets: list[Ticket] = field(default_factory=list)  # not ended, oldest first
    open_windows: dict[int, OpenWindow] = field(default_factory=dict)  # by conversation ID
    held_replies: set[int] = field(default_factory=set)  # IDs of conversations that have some
    corrections: set[str] = field(default_factory=set)  # provider's IDs of messages that pending corrections name


def look_up(api_channel: ApiChannel, conversations: Collection[int], external_ids: Collection[str]) -> BatchLookup:
    """Read what is stored about locked conversations and about messages with these IDs of the provider."""
    parameters: dict[str, Any] = {
        "api_channel": api_channel.pk,
        "conversations": sorted(conversations),
        "external_ids": sorted(external_ids),
    }
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, LOOK_UP_SQL, parameters)
        rows = cursor.fetchall()
    now, message_ids, held_replies, corrections = rows[0][:CHAT_AT]
    stored = Message.objects.filter(pk__in=message_ids).select_related("conversation") if message_ids else ()
    found = BatchLookup(
        now=now,
        messages={message.external_id: message for message in stored},
        held_replies=set(held_replies or ()),
        corrections=set(corrections or ()),
    )
    for row in rows:
        chat_id, window_id, expires_at, merged_contact_id = row[CHAT_AT:TICKET_AT]
        if window_id is not None:
            found.open_windows[chat_id] = OpenWindow(window_id, expires_at, merged_contact_id)
        if row[TICKET_AT] is not None:
            found.tickets.append(TICKETS.read(row[TICKET_AT:]))
    return found
