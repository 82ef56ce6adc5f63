"""One at a time: advisory locks of PostgreSQL, which a session holds. A process that dies gives them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, unique

from django.db import connection


@unique
class LockSpace(IntEnum):
    """The first half of each lock's number, all in one place so that no two uses share one."""

    INBOX = 7_201  # an API channel's events
    OUTBOX = 7_202  # a place at a worker
    HELPDESK = 7_203  # an account at an outside helpdesk
    HELPDESK_INBOX = 7_204  # a chat channel's events
    TEMPLATES = 7_205  # an API channel's list of templates
    CONTACTS = 7_206  # contacts that are being made on an API channel


def try_acquire(space: LockSpace, number: int) -> bool:
    """Whether the lock is ours now: nobody waits for it."""
    return _call("pg_try_advisory_lock", space, number)


def release(space: LockSpace, number: int) -> None:
    _call("pg_advisory_unlock", space, number)


@contextmanager
def exclusive(space: LockSpace, number: int) -> Iterator[bool]:
    """Hold the lock if nobody else does."""
    mine = try_acquire(space, number)
    try:
        yield mine
    finally:
        if mine:
            release(space, number)


def _call(function: str, space: LockSpace, number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [int(space), number % 2**31])
        return bool(cursor.fetchone()[0])
