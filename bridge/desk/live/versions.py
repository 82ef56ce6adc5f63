"""Versions of the chat list and of a thread: short hashes that change when an open page must update.

Why polling instead of server-sent events: an idle poll costs one indexed query and an empty response (see
``polling``), holds no connection (web threads are few, and proxies, sleeping laptops and network changes break
streams unnoticed), and survives restarts. With a poll every 1.5 seconds, new messages appear within two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from channels_setup.prepared_statements import execute_read

NEWEST_CHATS = 60
NEWEST_MESSAGES = 60
NEWEST_LINES = 20

# Teams are negative, because concat_ws skips nulls and an assignee may have the same number.

# The newest chats of the channels, read through the list's own indexes, and the user's pins. Changes further down
# appear within a minute, because the version also changes every minute to refresh the time left.
LIST_VERSION_SQL = f"""(
SELECT left(md5(string_agg(concat_ws(',', id, last_message_at, unread, assignee_id, -team_id, request_status,
                                                 snoozed_until), ';'
                           ORDER BY last_message_at DESC, id DESC)), 12)
       || (extract(epoch FROM clock_timestamp())::bigint / 60)
       || (SELECT concat('.', count(*), '.', max(id)) FROM bridge_chatpin WHERE user_id = %(user)s)
FROM (SELECT c.* FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
          SELECT id, last_message_at, unread, assignee_id, team_id, request_status, snoozed_until
          FROM bridge_conversation
          WHERE chat_channel_id = channel.id ORDER BY last_message_at DESC, id DESC LIMIT {NEWEST_CHATS}) c
      ORDER BY last_message_at DESC, id DESC LIMIT {NEWEST_CHATS}) newest
)"""

# Messages and statuses, deliveries of unsettled messages, window, requests, held replies, uploads, contact.
# Lines, notes and changes of the contact are compared by their IDs, not by the newest time or ID: a transaction that
# does not hold the lock of the chat may commit a row that is older than the newest one.
THREAD_VERSION_SQL = f"""(
WITH recent AS (
    SELECT id, status, reason, created_at, reactions, shown FROM bridge_message
    WHERE conversation_id = %(chat)s ORDER BY id DESC LIMIT {NEWEST_MESSAGES}
)
SELECT left(md5(concat_ws('|',
    (SELECT string_agg(concat_ws(',', id, status, reason, created_at, reactions, shown), ';' ORDER BY id)
     FROM recent),
    (SELECT string_agg(concat_ws(',', a.id, a.state), ';' ORDER BY a.id)
     FROM recent r JOIN bridge_attachment a ON a.message_id = r.id AND a.state <> 'available'),
    (SELECT string_agg(concat_ws(',', d.id, d.state, d.attempts, d.reason), ';' ORDER BY d.id)
     FROM recent r JOIN bridge_delivery d ON d.message_id = r.id AND d.kind = 'message'
     WHERE r.status IN ('pending', 'sending', 'unknown', 'failed')),
    (SELECT concat_ws(',', max(expires_at), max(expires_at) > clock_timestamp())
     FROM bridge_servicewindow WHERE conversation_id = %(chat)s),
    (SELECT string_agg(concat_ws(',', id, status, assignee_id, -team_id, subject, priority, type, tags), ';'
                       ORDER BY id) FROM bridge_ticket WHERE conversation_id = %(chat)s),
    (SELECT string_agg(id::text, ',' ORDER BY id)
     FROM (SELECT id FROM bridge_conversationactivity WHERE conversation_id = %(chat)s
           ORDER BY created_at DESC LIMIT {NEWEST_LINES}) line),
    (SELECT string_agg(concat_ws(',', id, edited_at, deleted_at), ';' ORDER BY id)
     FROM bridge_conversationnote WHERE conversation_id = %(chat)s),
    (SELECT string_agg(id::text, ',' ORDER BY id)
     FROM bridge_heldreply WHERE conversation_id = %(chat)s AND state = 'held'),
    (SELECT string_agg(concat_ws(',', id, downloads), ';' ORDER BY id) FROM bridge_upload
     WHERE conversation_id = %(chat)s AND message_id IS NULL),
    (SELECT concat_ws(',', c.assignee_id, -c.team_id, c.snoozed_until,
                      (SELECT concat_ws(',', a.state = 'paused', a.archived_at)
                       FROM channels_setup_apichannel a WHERE a.id = c.api_channel_id),
                      p.name, p.phone, p.email, p.tags, p.has_merged,
                      p.moved_to_id, p.external_id, p.user_id, p.username,
                      (SELECT string_agg(concat_ws(',', n.id, n.edited_at), ';' ORDER BY n.id)
                       FROM bridge_contactnote n WHERE n.contact_id = p.id),
                      (SELECT concat(count(*), '.', max(h.id)) FROM bridge_contactchange h WHERE h.contact_id = p.id))
     FROM bridge_conversation c JOIN bridge_contact p ON p.id = c.contact_id WHERE c.id = %(chat)s))), 16)
)"""


def list_version(channel_ids: Sequence[int], *, user_id: int) -> str:
    return _select_version(LIST_VERSION_SQL, channels=list(channel_ids), user=user_id) or "none"


def thread_version(conversation_id: int) -> str:
    return _select_version(THREAD_VERSION_SQL, chat=conversation_id)


def _select_version(version: str, **values: Any) -> str:
    with connection.cursor() as cursor:
        execute_read(cursor, f"SELECT {version}", values)
        row = cursor.fetchone()
    return str(row[0] or "")
