"""Failure isolation for loops over rows: a failing item is logged and backs off, and the loop continues."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, connection

from .database_schema import SchemaMismatch

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (60.0, 300.0, 900.0, 3_600.0)  # seconds after the first, second, … failure of an item
MAX_REMEMBERED = 10_000


class FailingItems:
    """Items of one loop that failed in this process. The loop leaves each out until its back-off ends.

    A sweep processes the first N rows that are due. Failing rows stay due, so without a back-off N failing rows would
    block all others. The list is per process: after a restart each failing item is tried once more.
    """

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self._failures: dict[Any, tuple[int, float]] = {}  # item -> number of failures, time of the next try

    def items_in_backoff(self) -> list[Any]:
        """Return the items whose back-off has not ended."""
        now = time.monotonic()
        return [item for item, (_failures, again_at) in self._failures.items() if again_at > now]

    def is_in_backoff(self, item: Hashable) -> bool:
        return self._failures.get(item, (0, 0.0))[1] > time.monotonic()

    @contextmanager
    def isolate(self, item: Hashable) -> Iterator[None]:
        """Log a failure of the block and let the item back off; do not raise it.

        Raises only errors that concern all items: a lost database connection, the schema of another release, no memory,
        or the task's time limit.
        Inside a transaction, the block needs its own savepoint.
        """
        try:
            yield
        except (MemoryError, SchemaMismatch):
            raise
        except SoftTimeLimitExceeded:
            self._note_failure(item)
            raise
        except (OperationalError, InterfaceError):
            if not connection.is_usable():
                raise
            self._note_failure(item)
        except Exception:
            self._note_failure(item)
        else:
            self._failures.pop(item, None)

    def _note_failure(self, item: Hashable) -> None:
        failures = self._failures.pop(item, (0, 0.0))[0] + 1
        wait = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
        self._failures[item] = failures, time.monotonic() + wait  # appended: the oldest entries are dropped first
        while len(self._failures) > MAX_REMEMBERED:
            del self._failures[next(iter(self._failures))]
        logger.exception("item failed", extra={"loop": self.loop, "item": item, "failures": failures})
