"""What the open pages poll: one short number for the list and one for the thread; another one means "draw anew".

Why polling and not server-sent events: a poll that finds nothing new costs three small indexed queries and an
empty answer, needs no held connection (our web threads are few, and a proxy, a sleeping laptop or a change of
network breaks streams in ways one only sees later), and survives a restart of anything without a word. At one
request in a second and a half, words are on the screen well within two seconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from bridge.models import Conversation, Ticket

NEWEST_CHATS = 60
NEWEST_MESSAGES = 60

# The newest chats by the index that the list itself goes by. What changes further down shows within the minute.
LIST = """
SELECT md5(string_agg(concat_ws(',', c.id, extract(epoch FROM c.last_message_at), c.unread, c.assignee_id, t.status),
                      ';' ORDER BY c.last_message_at DESC, c.id DESC))
FROM (SELECT id, last_message_at, unread, assignee_id FROM bridge_conversation
      WHERE chat_channel_id = ANY(%(channels)s) ORDER BY last_message_at DESC, id DESC LIMIT %(newest)s) c
LEFT JOIN bridge_ticket t ON t.conversation_id = c.id AND NOT t.status IN %(ended)s
"""

# Messages and their ticks, the tries of those not settled, the window, the requests.
THREAD = """
WITH recent AS (
    SELECT id, status, reason, created_at FROM bridge_message
    WHERE conversation_id = %(conversation)s ORDER BY id DESC LIMIT %(newest)s
)
SELECT md5(concat_ws('|',
    (SELECT string_agg(concat_ws(',', id, status, reason, extract(epoch FROM created_at)), ';' ORDER BY id)
     FROM recent),
    (SELECT string_agg(concat_ws(',', d.id, d.state, d.attempts, d.reason), ';' ORDER BY d.id)
     FROM recent r JOIN bridge_delivery d ON d.message_id = r.id AND d.kind = 'message'
     WHERE r.status IN ('pending', 'sending', 'unknown', 'failed')),
    (SELECT concat_ws(',', max(expires_at), max(expires_at) > clock_timestamp())
     FROM bridge_servicewindow WHERE conversation_id = %(conversation)s),
    (SELECT string_agg(concat_ws(',', id, status, assignee_id), ';' ORDER BY id)
     FROM bridge_ticket WHERE conversation_id = %(conversation)s),
    (SELECT string_agg(id::text, ',' ORDER BY id)
     FROM bridge_heldreply WHERE conversation_id = %(conversation)s AND state = 'held')))
"""


def of_list(channel_ids: Sequence[int], *, now: datetime) -> str:
    """The list's version. It changes by the minute too, because rows say how much time is left."""
    with connection.cursor() as cursor:
        cursor.execute(
            LIST, {"channels": list(channel_ids), "newest": NEWEST_CHATS, "ended": tuple(map(int, Ticket.ENDED))}
        )
        row = cursor.fetchone()
    return f"{(row[0] or 'none')[:12]}{int(now.timestamp() // 60)}"


def of_thread(conversation: Conversation) -> str:
    with connection.cursor() as cursor:
        cursor.execute(THREAD, {"conversation": conversation.pk, "newest": NEWEST_MESSAGES})
        row = cursor.fetchone()
    contact = zlib.crc32(f"{conversation.contact.name} {conversation.contact.phone}".encode())
    return f"{row[0][:12]}.{conversation.assignee_id or 0}.{contact}"
