"""Copies of the last message in a conversation, for chat lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from bridge import message_text, service_window
from bridge.models import ACTIVE_STATUSES, Conversation, Message
from channels_setup import prepared_statements

# Fields of a conversation that are saved together.
LAST_MESSAGE_FIELDS = ("last_message_at", "last_text", "last_direction", "last_written_at", "waiting_since")
UNREAD_FIELDS = ("unread", "change_after_answer", "unread_marked_at")

# When the client wrote the first message that we have not answered. A message to a request that was not open or new
# starts a new wait.
WAITING_SINCE_SQL = f"""
CASE WHEN v.direction <> 'inbound' THEN NULL
     WHEN c.last_direction = 'inbound' AND c.request_status IN {ACTIVE_STATUSES}
     THEN coalesce(c.waiting_since, c.last_message_at) ELSE coalesce(v.written_at, %(now)s) END
"""

# Copies the last messages to the locked conversations and extends their windows. Both look rows up by primary key.
SAVE_CHATS_SQL = f"""
WITH extended AS ({service_window.EXTENDED_WINDOWS_SQL})
UPDATE bridge_conversation c
SET last_message_at = %(now)s, last_text = v.text, last_direction = v.direction,
    unread = c.unread + v.unread, waiting_since = {WAITING_SINCE_SQL},
    request_status = v.status, last_written_at = v.written_at, event_stamp = v.stamp, snoozed_until = NULL
FROM unnest(%(ids)s::bigint[], %(texts)s::text[], %(directions)s::text[], %(unread)s::int[], %(statuses)s::int[],
    %(written_at)s::timestamptz[], %(stamps)s::timestamptz[])
    AS v(id, text, direction, unread, status, written_at, stamp)
WHERE c.id = v.id
"""


def save_chats(messages: Sequence[Message], extended: Mapping[int, datetime], *, now: datetime) -> None:
    """Save the conversations of new messages. ``extended``: the new expiry of windows by their ID."""
    conversations: dict[int, Conversation] = {}
    unread: Counter[int] = Counter()
    for message in messages:
        conversation = message.conversation
        set_last_message(conversation, message, now=now)
        unread[conversation.pk] += 1
        conversations[conversation.pk] = conversation
    rows = [conversations[pk] for pk in sorted(conversations)]
    parameters: dict[str, Any] = {
        "now": now,
        "ids": [row.pk for row in rows],
        "texts": [row.last_text for row in rows],
        "directions": [str(row.last_direction) for row in rows],
        "unread": [unread[row.pk] for row in rows],
        "statuses": [row.request_status for row in rows],
        "written_at": [row.last_written_at for row in rows],
        "stamps": [row.event_stamp for row in rows],
        "windows": list(extended),
        "until": list(extended.values()),
    }
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, SAVE_CHATS_SQL, parameters)


def set_last_message(conversation: Conversation, message: Message, *, now: datetime) -> None:
    """Copy the message to the unsaved conversation's fields for chat lists (LAST_MESSAGE_FIELDS)."""
    if message.ticket is not None:
        conversation.request_status = message.ticket.status
    if message.direction != Message.Direction.INBOUND:
        conversation.waiting_since = None
    conversation.last_message_at = now
    conversation.last_text = message_text.build_preview(message.text, message.shown)[:200]
    conversation.last_direction = message.direction
    conversation.last_written_at = message.provider_time if message.is_received_late else None
