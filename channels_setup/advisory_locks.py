"""PostgreSQL advisory locks. The database session holds them, so a process that dies releases its locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, unique

from django.db import connection


@unique
class LockSpace(IntEnum):
    """First key of each lock. All uses are listed here, so that no two share a key."""

    INBOX = 7_201  # second key: API channel
    HELPDESK_INBOX = 7_204  # second key: chat channel
    TEMPLATES = 7_205  # second key: API channel
    CONTACTS = 7_206  # second key: API channel
    WORKER_RUNS = 7_207  # second key: worker and kind of run
    MIGRATE = 7_208  # second key: 0
    PRUNING = 7_209  # second key: 0
    ALERT_ROUTES = 7_210  # second key: 0 for ALERT_ROUTES, 1 for emails
    AUTOMATION = 7_211  # second key: 0
    PUSH = 7_212  # second key: 0


def try_acquire(space: LockSpace, number: int) -> bool:
    """Acquire the lock if it is free and return whether it was. Does not wait."""
    return _call("pg_try_advisory_lock", space, number)


def release(space: LockSpace, number: int) -> None:
    _call("pg_advisory_unlock", space, number)


@contextmanager
def exclusive(space: LockSpace, number: int) -> Iterator[bool]:
    """Hold the lock during the block if it is free; yield whether it was. Does not wait."""
    acquired = try_acquire(space, number)
    try:
        yield acquired
    finally:
        if acquired:
            release(space, number)


def _call(function: str, space: LockSpace, number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [int(space), number % 2**31])
        return bool(cursor.fetchone()[0])
