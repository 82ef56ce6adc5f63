"""Orders that the client sent from the catalog, in the client pane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from bridge.desk import presentation
from bridge.models import Conversation
from channels_setup.codecs.message_extras import describe_order_lines

MAX_ORDERS, MAX_LINES = 5, 4
MAX_SEARCHED = 300  # newest messages of the chat: there is no index of orders
ORDERS_SQL = """
SELECT id, created_at, shown FROM (
    SELECT id, created_at, shown FROM bridge_message WHERE conversation_id = %s ORDER BY id DESC LIMIT %s
) newest WHERE shown ->> 'what' = 'order' ORDER BY id DESC LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class ClientOrder:
    message_id: int
    at: str
    lines: list[tuple[str, str]]  # product with its quantity, and price; the total last
    hidden: int  # further lines


def list_orders(conversation: Conversation, *, now: datetime) -> list[ClientOrder]:
    """Return the newest orders of the chat, with one query."""
    with connection.cursor() as cursor:
        cursor.execute(ORDERS_SQL, [conversation.pk, MAX_SEARCHED, MAX_ORDERS])
        rows = cursor.fetchall()
    found = []
    for pk, created_at, shown in rows:
        lines = list(describe_order_lines(json.loads(shown) if isinstance(shown, str) else shown))
        shown_lines = lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], lines[-1]]
        at = presentation.format_moment(created_at, now=now)
        found.append(ClientOrder(message_id=pk, at=at, lines=shown_lines, hidden=len(lines) - len(shown_lines)))
    return found
