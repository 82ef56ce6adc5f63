"""Counts of what a retention rule would delete now. Each count reads a bounded number of rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection

from bridge import service_window
from bridge.models import RetentionKind

from . import retention_rules, table_rules
from . import retention_sql as sql

MAX_COUNTED = 10_000

_COUNT_EVENTS = """
SELECT count(*) FROM (SELECT FROM bridge_webhookevent
    WHERE api_channel_id = %(channel)s AND received_at < %(before)s AND state <> 'new' LIMIT %(limit)s) old
"""
_COUNT_FILES = """
SELECT count(*) FROM (SELECT message_id FROM bridge_attachment WHERE state <> 'expired' ORDER BY id LIMIT %(limit)s) a
JOIN bridge_message m ON m.id = a.message_id WHERE m.api_channel_id = %(channel)s AND m.created_at < %(before)s
"""
_COUNT_OLDEST = """
SELECT count(*) FROM (SELECT * FROM {table} ORDER BY id LIMIT %(limit)s) oldest
WHERE {age} < %(before)s AND {condition}
"""
_COUNT_TABLE = """
SELECT count(*) FROM (SELECT FROM {table} WHERE {age} < %(before)s AND {condition} LIMIT %(limit)s) old
"""
_OLDEST = {
    RetentionKind.DELIVERIES: ("bridge_delivery", "created_at", "state IN ('delivered', 'cancelled')"),
    RetentionKind.ATTEMPTS: ("bridge_attempt", "started_at", "TRUE"),
    RetentionKind.AUDIT: ("audit_record", "at", "TRUE"),
}
_OF_CHANNEL = {
    RetentionKind.MESSAGES: sql.COUNT_OLD_MESSAGES,
    RetentionKind.FILES: _COUNT_FILES,
    RetentionKind.EVENTS: _COUNT_EVENTS,
}


def count_channel_rows(kind: RetentionKind, channel_id: int, days: int) -> int:
    """Count the rows of an API channel that are older than this, up to ``MAX_COUNTED``."""
    return _count(_OF_CHANNEL[kind], days, channel=channel_id) if days else 0


def count_portal_rows(kind: RetentionKind, days: int, *, channel_ids: list[int]) -> int:
    """Count the rows that this rule of the portal would delete. ``channel_ids``: channels without their own value."""
    if not days:
        return 0
    count = sum(count_channel_rows(kind, pk, days) for pk in channel_ids) if kind in _OF_CHANNEL else 0
    if kind in _OLDEST:
        table, age, condition = _OLDEST[kind]
        count += _count(_COUNT_OLDEST.format(table=table, age=age, condition=condition), days)
    for rule in (*table_rules.PRUNED.values(), table_rules.EVENTS_WITHOUT_CHANNEL):
        if rule.kind == kind:
            count += _count(_COUNT_TABLE.format(table=rule.table, age=rule.age, condition=rule.condition), days)
    return min(count, MAX_COUNTED)


def count_due_rows() -> dict[RetentionKind, int]:
    """Count what the current rules would delete now, by kind, all channels together."""
    counts = {}
    for kind, rule in retention_rules.list_rules().items():
        counts[kind] = count_portal_rows(kind, rule.days, channel_ids=[])
        if rule.spec.channel_field:
            days = retention_rules.get_channel_days(kind)
            counts[kind] += sum(count_channel_rows(kind, pk, limit) for pk, limit in days.items())
        counts[kind] = min(counts[kind], MAX_COUNTED)
    return counts


def _count(statement: str, days: int, **values: int) -> int:
    before: datetime = service_window.database_now() - timedelta(days=days)
    with connection.cursor() as cursor:
        cursor.execute(statement, {**values, "before": before, "limit": MAX_COUNTED})
        return int(cursor.fetchone()[0])
