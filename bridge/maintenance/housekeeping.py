"""Periodic jobs: expiring windows, heartbeats, and deletion of rows past their retention.

All of them may run concurrently: each claims its rows in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from bridge import service_window
from bridge.channel_health import rate_limits
from bridge.files import file_deletions, provider_uploads, uploads
from bridge.merging import undo
from bridge.metrics import recording
from bridge.models import Heartbeat
from bridge.outbox import settling
from channels_setup.failing_items import FailingItems

from . import outside_copies, retention

PRUNE_BATCH = 1_000
PRUNED_TABLES = FailingItems("prune")

# Table, age column, condition, setting with the days.
RETENTION = (
    ("axes_accessattempt", "attempt_time", "TRUE", "EVENT_RETENTION_DAYS"),
    ("axes_accessfailurelog", "attempt_time", "TRUE", "EVENT_RETENTION_DAYS"),
    ("axes_accesslog", "attempt_time", "TRUE", "EVENT_RETENTION_DAYS"),
    # Those of API channels: ``retention``.
    ("bridge_webhookevent", "received_at", "state <> 'new' AND api_channel_id IS NULL", "EVENT_RETENTION_DAYS"),
    ("bridge_attempt", "started_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_idempotencykey", "created_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_closingreminder", "created_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_straystatus", "received_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_helpdeskreply", "received_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_helpdeskduplicatewindow", "began_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_templatelink", "expires_at", "TRUE", "EVENT_RETENTION_DAYS"),
    ("bridge_alert", "settled_at", "settled_at IS NOT NULL", "EVENT_RETENTION_DAYS"),
    ("bridge_mismatch", "settled_at", "settled_at IS NOT NULL", "EVENT_RETENTION_DAYS"),
    (
        "channels_setup_handover",
        "created_at",
        "first_event_at IS NULL AND confirmed_at IS NULL",
        "EVENT_RETENTION_DAYS",
    ),
)


def expire_windows() -> int:
    """Close all expired windows in batches, and cancel their pending replies. Return how many."""
    closed = 0
    while batch := _expire_batch():
        closed += batch
    return closed


@transaction.atomic
def _expire_batch() -> int:
    """Expire windows and cancel their pending replies in one transaction.

    Otherwise a crash in between would lose the operator's notice. A message from the client in between would open the
    window again, and a reply that may be sent would be canceled.
    """
    conversation_ids = service_window.expire_batch()
    settling.cancel_after_windows_closed(conversation_ids)
    recording.count_closed_windows(len(conversation_ids))
    return len(conversation_ids)


def record_heartbeat(name: str) -> None:
    """Record that the component `name` works."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO bridge_heartbeat (name, at) VALUES (%s, clock_timestamp())
               ON CONFLICT (name) DO UPDATE SET at = excluded.at""",
            [name],
        )


_last_heartbeats: dict[str, float] = {}


def record_heartbeat_throttled(name: str, *, every: float = 10.0) -> None:
    """Record a heartbeat at most once per `every` seconds."""
    now = time.monotonic()
    if now - _last_heartbeats.get(name, -every) >= every:
        _last_heartbeats[name] = now
        record_heartbeat(name)


def get_heartbeat_ages() -> dict[str, float]:
    """Return component → seconds since its last heartbeat, by the database's clock."""
    now = service_window.database_now()
    return {row.name: (now - row.at).total_seconds() for row in Heartbeat.objects.all()}


def prune_expired_rows() -> int:
    """Delete rows past their retention in small batches. Return how many."""
    total = 0
    for table, column, condition, setting in RETENTION:
        with PRUNED_TABLES.isolate(table):
            days = getattr(settings, setting)
            if table == "bridge_idempotencykey":  # the stored responses repeat messages
                days = min([days, *retention.list_message_limits()])
            total += _prune_table(table, column, condition, days=days)
    jobs: Mapping[str, Callable[[], int]] = {
        "sessions": _prune_sessions,
        "cache": _prune_cache,
        "rate limits": lambda: rate_limits.prune_buckets(now=service_window.database_now()),
        "provider uploads": provider_uploads.prune_provider_uploads,
        "uploads": uploads.prune_uploads,
        "files": file_deletions.delete_scheduled_files,
        "erasure receipts": outside_copies.forget_old_numbers,
        "merges": undo.delete_old_undo_data,
        "retention": retention.apply_retention,
    }
    for name, prune in jobs.items():
        with PRUNED_TABLES.isolate(name):
            total += prune()
    return total


def _prune_table(table: str, column: str, condition: str, *, days: int) -> int:
    before = service_window.database_now() - timedelta(days=days)
    total = 0
    while deleted := _prune_batch(table, column, condition, before):
        total += deleted
    return total


def _prune_sessions() -> int:
    """Delete expired sessions, in batches."""
    total = 0
    while deleted := _prune_batch(
        "django_session", "expire_date", "TRUE", service_window.database_now(), key="session_key"
    ):
        total += deleted
    return total


def _prune_cache() -> int:
    """Delete expired entries of the shared cache, in batches."""
    total = 0
    while deleted := _prune_batch(
        "accounts_sharedcacheentry", "expires", "TRUE", service_window.database_now(), key="cache_key"
    ):
        total += deleted
    return total


def _prune_batch(table: str, column: str, condition: str, before: datetime, *, key: str = "id") -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH old AS MATERIALIZED (
                    SELECT {key} FROM {table} WHERE {column} < %s AND {condition}
                    ORDER BY {column} LIMIT {PRUNE_BATCH} FOR UPDATE SKIP LOCKED)
                DELETE FROM {table} USING old WHERE {table}.{key} = old.{key}""",
            [before],
        )
        return int(cursor.rowcount)
