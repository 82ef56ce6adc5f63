"""Deletion of old rows in small batches. Each function yields the number of rows of each batch.

A batch is one short transaction that skips rows in use, so that other writers wait for a few milliseconds at most.
Tables whose age column has an index are searched by it. Deliveries and attempts are read from their oldest row, in the
order of their primary key, which is the order of their creation: their age columns need no index of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from bridge import service_window
from bridge.models import ContactImport
from bridge.models.contact_imports import LIFETIME, UNDO_WITHIN

from .table_rules import PrunedTable

BATCH = 1_000
SNAPSHOT_DAYS = 400
AUDIT_BATCH_DAYS = 30
UNUSED_BUCKET_HOURS = 1

# Rows are in the order of their creation, so the first page without an old row ends the search.
FIND_OLD_ATTEMPTS = """
SELECT id, started_at < %(before)s FROM bridge_attempt WHERE id > %(last)s ORDER BY id LIMIT %(limit)s
"""
FIND_OLD_DELIVERIES = """
SELECT id, created_at < %(before)s FROM bridge_delivery WHERE id > %(last)s ORDER BY id LIMIT %(limit)s
"""
_DELETE_ATTEMPTS = """
DELETE FROM bridge_attempt WHERE id IN (SELECT id FROM bridge_attempt WHERE id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED)
"""
# A given-up delivery is resent or discarded by a person, except an alert message, which is followed by the next one.
# The lock keeps a resend of a canceled one out.
_LOCK_FINISHED_DELIVERIES = """
SELECT id FROM bridge_delivery
WHERE id = ANY(%(ids)s) AND coalesce(finished_at, created_at) < %(before)s
  AND (state IN ('delivered', 'cancelled') OR state IN ('dead', 'unknown') AND alert_route_id IS NOT NULL)
ORDER BY id FOR UPDATE SKIP LOCKED
"""
_DELETE_DELIVERIES = (
    "DELETE FROM bridge_attempt WHERE delivery_id = ANY(%(ids)s)",
    "DELETE FROM bridge_deliverydecision WHERE delivery_id = ANY(%(ids)s)",
    "DELETE FROM bridge_alert WHERE delivery_id = ANY(%(ids)s)",
    "UPDATE bridge_templatelink SET note_id = NULL WHERE note_id = ANY(%(ids)s)",
    "DELETE FROM bridge_delivery WHERE id = ANY(%(ids)s)",
)
# The row of a sign-in is written before its session.
_DELETE_ENDED_SESSIONS = """
DELETE FROM usersessions_usersession WHERE id IN (
    SELECT u.id FROM usersessions_usersession u
    WHERE u.created_at < %(before)s
      AND NOT EXISTS (SELECT FROM django_session s WHERE s.session_key = u.session_key) LIMIT %(limit)s)
"""


def prune_table(rule: PrunedTable, *, days: int) -> Iterator[int]:
    """Delete the rows of a table that are older than this."""
    yield from prune_by_age(rule.table, rule.age, rule.condition, before=_days_ago(days))


def prune_by_age(table: str, column: str, condition: str, *, before: datetime, key: str = "id") -> Iterator[int]:
    """Delete rows whose column is before the time, oldest first."""
    statement = f"""
        WITH old AS MATERIALIZED (
            SELECT {key} FROM {table} WHERE {column} < %(before)s AND {condition}
            ORDER BY {column} LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        DELETE FROM {table} USING old WHERE {table}.{key} = old.{key}"""
    yield from _repeat(statement, before=before)


def prune_expired(table: str, column: str, *, key: str) -> Iterator[int]:
    """Delete rows that have expired."""
    yield from prune_by_age(table, column, "TRUE", before=service_window.database_now(), key=key)


@transaction.atomic
def clear_finished_imports() -> int:
    """Forget refused rows after a day, and created and listed contacts when no import with them can be undone.

    Imports in use are left for the next run: an erasure locks all of them, and would wait in another order.
    """
    now = service_window.database_now()
    old = ContactImport.objects.filter(finished_at__lt=now - LIFETIME).exclude(refused=[], created={}, listed=[])
    locked = old.select_for_update(no_key=True, skip_locked=True).order_by("pk").values_list("pk", flat=True)
    rows = ContactImport.objects.filter(pk__in=list(locked))
    count = rows.exclude(refused=[]).update(refused=[])
    count += rows.filter(finished_at__lt=now - UNDO_WITHIN).exclude(created={}).update(created={})
    # The import that created them may have finished after this one.
    listed = rows.filter(finished_at__lt=now - UNDO_WITHIN - LIFETIME).exclude(listed=[])
    return count + listed.update(listed=[])


def prune_attempts(*, days: int) -> Iterator[int]:
    """Delete old attempts."""
    values = {"before": _days_ago(days)}
    for ids in _iterate_pages(FIND_OLD_ATTEMPTS, values):
        yield _execute(_DELETE_ATTEMPTS, {**values, "ids": ids})


def prune_deliveries(*, days: int) -> Iterator[int]:
    """Delete old finished deliveries with their attempts. Given-up and unknown ones stay until they are resolved."""
    values = {"before": _days_ago(days)}
    for ids in _iterate_pages(FIND_OLD_DELIVERIES, values):
        yield _delete_deliveries(ids, values["before"])


@transaction.atomic
def _delete_deliveries(ids: list[int], before: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_FINISHED_DELIVERIES, {"ids": ids, "before": before})
        finished = [row[0] for row in cursor.fetchall()]
        for statement in _DELETE_DELIVERIES if finished else ():
            cursor.execute(statement, {"ids": finished})
        return len(finished)


def prune_audit_records(*, days: int) -> Iterator[int]:
    """Delete old audit records, a month of them at a time. Once a day: ``audit_prune`` records each call."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(day FROM clock_timestamp() - at)::int FROM audit_record ORDER BY id LIMIT 1")
            row = cursor.fetchone()
            if row is None or row[0] <= days:
                return
            cursor.execute("SELECT audit_prune(%s)", [max(days, row[0] - AUDIT_BATCH_DAYS)])
            yield int(cursor.fetchone()[0])


def prune_ended_sessions() -> Iterator[int]:
    """Delete the list entries of sessions that ended at least a day ago."""
    yield from _repeat(_DELETE_ENDED_SESSIONS, before=_days_ago(1))


def prune_buckets() -> Iterator[int]:
    """Delete buckets of rate limits that were not used for an hour."""
    before = service_window.database_now() - timedelta(hours=UNUSED_BUCKET_HOURS)
    yield from prune_by_age("bridge_ratelimit", "met_at", "TRUE", before=before)


def prune_snapshots() -> Iterator[int]:
    yield from prune_by_age("bridge_storagesnapshot", "day", "TRUE", before=_days_ago(SNAPSHOT_DAYS))


def run_once(prune: Callable[[], int]) -> Iterator[int]:
    """Treat a function that does all its work at once as one batch."""
    yield prune()


def _iterate_pages(statement: str, values: dict[str, datetime]) -> Iterator[list[int]]:
    """Yield the IDs of the old rows of each page, until a page has none."""
    last = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, {**values, "last": last, "limit": BATCH})
            rows = cursor.fetchall()
        ids = [pk for pk, is_old in rows if is_old]
        if not ids:
            return
        last = rows[-1][0]
        yield ids


def _repeat(statement: str, *, before: datetime) -> Iterator[int]:
    while deleted := _execute(statement, {"before": before, "limit": BATCH}):
        yield deleted


def _execute(statement: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _days_ago(days: int) -> datetime:
    return service_window.database_now() - timedelta(days=days)
