"""Which processes of a worker may send at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from channels_setup.advisory_locks import LockSpace, release, try_acquire


@contextmanager
def acquire_run_slot(worker: str) -> Iterator[bool]:
    """Yield whether this worker may start one more run. All of its processes but one may send at a time.

    The remaining process handles incoming events even while every outgoing call hangs. The slot is a session lock in
    PostgreSQL, so a process that dies releases it.
    """
    number = next((number for number in _slot_numbers(worker) if try_acquire(LockSpace.OUTBOX, number)), None)
    try:
        yield number is not None
    finally:
        if number is not None:
            release(LockSpace.OUTBOX, number)


def _slot_numbers(worker: str) -> list[int]:
    first = zlib.crc32(worker.encode()) % 2**30
    return [first + number for number in range(max(settings.WORKER_CONCURRENCY - 1, 1))]
