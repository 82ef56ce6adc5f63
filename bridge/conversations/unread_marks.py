"""Read and unread chats. Unread is one state for all operators: a chat that one has opened is read for all.

An operator can mark a read chat as unread. It stays so, also where it is open, until somebody opens it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection

from bridge.models import Conversation

from . import read_receipts

# Both lock the rows in the order of their IDs first.
MARK_UNREAD_SQL = """
UPDATE bridge_conversation c SET unread = new.unread, unread_marked_at = clock_timestamp()
FROM (SELECT old.id, v.unread FROM unnest(%(chats)s::bigint[], %(unread)s::int[]) AS v(id, unread)
      JOIN bridge_conversation old ON old.id = v.id WHERE old.unread = 0 AND NOT old.is_erased ORDER BY old.id
      FOR NO KEY UPDATE OF old) new
WHERE c.id = new.id RETURNING c.id
"""
MARK_READ_SQL = """
UPDATE bridge_conversation c SET unread = 0, change_after_answer = '', unread_marked_at = NULL
FROM (SELECT c.id, c.unread FROM unnest(%(chats)s::bigint[], %(known)s::int[]) AS v(id, known)
      JOIN bridge_conversation c ON c.id = v.id
      WHERE c.unread > 0 AND (v.known IS NULL OR c.unread <= v.known) ORDER BY c.id FOR NO KEY UPDATE OF c) old
WHERE c.id = old.id RETURNING c.id, old.unread
"""


def mark_unread(chats: Mapping[int, int]) -> list[int]:
    """Mark read chats as unread: chat → number of messages to show as unread. Return the changed ones."""
    with connection.cursor() as cursor:
        cursor.execute(MARK_UNREAD_SQL, {"chats": list(chats), "unread": list(chats.values())})
        return [pk for (pk,) in cursor.fetchall()]


def mark_read(chats: Mapping[int, int | None]) -> dict[int, int]:
    """Mark chats as read. Return what was unread: chat → number of messages. The clients get their read receipts.

    ``chats``: chat → number of unread messages that the user knows of. A chat that has more stays unread. None: any.
    """
    with connection.cursor() as cursor:
        cursor.execute(MARK_READ_SQL, {"chats": list(chats), "known": list(chats.values())})
        changed: dict[int, int] = dict(cursor.fetchall())
    read = Conversation.objects.filter(pk__in=changed).select_related("api_channel").order_by("pk")
    for conversation in read if changed else ():
        read_receipts.request_read_receipt(conversation)
    return changed
