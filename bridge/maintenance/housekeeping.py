"""Periodic jobs: expiring windows, heartbeats, and deletion of rows past their retention.

All of them may run concurrently: each claims its rows in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from django.db import connection, transaction

from bridge import service_window
from bridge.files import file_deletions, uploads
from bridge.merging import undo
from bridge.metrics import recording
from bridge.models import Heartbeat, RetentionKind
from bridge.outbox import settling
from channels_setup import advisory_locks
from channels_setup.advisory_locks import LockSpace
from channels_setup.failing_items import FailingItems

from . import outside_copies, pruning, retention, retention_rules, storage_usage, table_rules

RUN_SECONDS = 30.0  # of each run, well within the time limit of a task
MAX_PAUSE = 0.5  # seconds
PRUNED_TABLES = FailingItems("prune")


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


def prune_expired_rows(*, seconds: float = RUN_SECONDS) -> int:
    """Delete what is past its retention, in small batches and for a limited time. Return how many rows.

    The jobs take turns, one batch each, so that a job with much to delete does not keep the others waiting. After each
    batch, the run pauses as long as the batch took. What is left is deleted by the next run.
    """
    with advisory_locks.exclusive(LockSpace.PRUNING, 0) as is_alone:
        return _run_jobs(build_prune_jobs(), ends_at=time.monotonic() + seconds) if is_alone else 0


def _run_jobs(jobs: dict[str, Iterator[int]], *, ends_at: float) -> int:
    total = 0
    while jobs and time.monotonic() < ends_at:
        for name, batches in list(jobs.items()):
            began, count = time.monotonic(), None
            with PRUNED_TABLES.isolate(name):
                count = next(batches, None)
            if count is None:  # finished or failed
                del jobs[name]
            elif count:
                total += count
                time.sleep(min(time.monotonic() - began, MAX_PAUSE))
    return total


def build_prune_jobs() -> dict[str, Iterator[int]]:
    """Return the jobs by name. A job does nothing until it is iterated."""
    rules = retention_rules.list_rules()
    jobs: dict[str, Iterator[int]] = {
        "sessions": pruning.prune_expired("django_session", "expire_date", key="session_key"),
        "session list": pruning.prune_ended_sessions(),
        "cache": pruning.prune_expired("accounts_sharedcacheentry", "expires", key="cache_key"),
        "storage snapshots": pruning.prune_snapshots(),
        "rate limits": pruning.prune_buckets(),
        "provider uploads": pruning.prune_expired("bridge_providerupload", "expires_at", key="id"),
        "imports of contacts": pruning.prune_expired("bridge_contactimport", "expires_at", key="id"),
        "rows of imports": pruning.run_once(pruning.clear_finished_imports),
        "erasure receipts": pruning.run_once(outside_copies.forget_old_numbers),
        "merges": pruning.run_once(undo.delete_old_undo_data),
    }
    for rule in table_rules.PRUNED.values():
        days = rules[rule.kind].days
        if rule.table == "bridge_idempotencykey":  # the stored responses repeat messages
            days = min([limit for limit in (days, *retention.list_message_limits()) if limit], default=0)
        if days:
            jobs[rule.table] = pruning.prune_table(rule, days=days)
    by_kind: dict[RetentionKind, Callable[..., Iterator[int]]] = {
        RetentionKind.ATTEMPTS: pruning.prune_attempts,
        RetentionKind.DELIVERIES: pruning.prune_deliveries,
        RetentionKind.AUDIT: pruning.prune_audit_records,
        RetentionKind.EVENTS: partial(pruning.prune_table, table_rules.EVENTS_WITHOUT_CHANNEL),
    }
    for kind, prune in by_kind.items():
        if rules[kind].days:
            jobs[kind] = prune(days=rules[kind].days)
    # Last, because a batch can be slow: files of a bucket, and once a day the sizes of all files.
    return jobs | {
        "uploads": uploads.prune_uploads(),
        "files to delete": file_deletions.delete_scheduled_files(),
        **{f"{kind} of channels": retention.iterate_kind(kind) for kind in retention.EXPIRE},
        "storage": pruning.run_once(storage_usage.take_snapshot),
    }
