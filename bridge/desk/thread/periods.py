"""Rows of a period of a chat that appear between its messages."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from django.db import models

from bridge.models import Conversation

Row = TypeVar("Row", bound=models.Model)

PERIOD_SQL = """
SELECT * FROM {table}
WHERE conversation_id = %(chat)s AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(before)s::timestamptz IS NULL OR created_at < %(before)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""


def load_period(
    model: type[Row], conversation: Conversation, *, since: datetime | None, before: datetime | None, limit: int
) -> list[Row]:
    """Load the newest rows of a period, oldest first."""
    values = {"chat": conversation.pk, "since": since, "before": before, "limit": limit}
    return list(model._default_manager.raw(PERIOD_SQL.format(table=model._meta.db_table), values))[::-1]
