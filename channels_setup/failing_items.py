"""Failure isolation for loops over rows: a failing item is logged, backs off, and never stops the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (60.0, 300.0, 900.0, 3_600.0)  # seconds after the first, second, … failure of an item
MAX_REMEMBERED = 10_000


class FailingItems:
    """Items of one loop that failed in this process, each left out until its back-off is over.

    A sweep takes the first N rows that are due. Rows that fail stay due, so without a back-off N failing rows would
    be all that it ever takes. The memory is per process: after a restart each failing item is tried once more.
    """

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self._failures: dict[Any, tuple[int, float]] = {}  # item -> number of failures, time of the next try

    def items_in_backoff(self) -> list[Any]:
        """Return the items that must not be tried yet."""
        now = time.monotonic()
        return [item for item, (_failures, again_at) in self._failures.items() if again_at > now]

    def is_in_backoff(self, item: Hashable) -> bool:
        return self._failures.get(item, (0, 0.0))[1] > time.monotonic()

    @contextmanager
    def isolate(self, item: Hashable) -> Iterator[None]:
        """Log a failure of the block and let the item back off; do not raise it.

        Raise only what concerns all items: the connection to the database is lost, the memory is used up, or the
        task's time is up. Inside a transaction the block needs a savepoint of its own.
        """
        try:
            yield
        except MemoryError:
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
        self._failures[item] = failures, time.monotonic() + wait  # at the end: the oldest are forgotten first
        while len(self._failures) > MAX_REMEMBERED:
            del self._failures[next(iter(self._failures))]
        logger.exception("item failed", extra={"loop": self.loop, "item": item, "failures": failures})
