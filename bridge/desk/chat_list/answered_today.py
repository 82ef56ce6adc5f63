"""Number of chats answered in time today, for an empty list of waiting chats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

ANSWERED_TODAY_SQL = """
SELECT count(*) FROM bridge_servicewindow w JOIN bridge_conversation c ON c.id = w.conversation_id
WHERE w.state = 'open' AND w.expires_at >= %(since)s AND c.last_direction = 'outbound'
AND c.chat_channel_id = ANY(%(channels)s)
"""


def count_answered_today(channels: Sequence[int], *, now: datetime) -> int:
    """Count the chats in which the client wrote today and was answered: their windows are open until tomorrow."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        cursor.execute(ANSWERED_TODAY_SQL, {"since": midnight + timedelta(days=1), "channels": list(channels)})
        return int(cursor.fetchone()[0])
