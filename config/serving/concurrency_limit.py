"""Limit of concurrent requests of one kind in a web process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class QueueFull(Exception):
    """The queue of waiting requests is full."""


class ConcurrencyLimit:
    """Let `max_active` requests run at once and `max_waiting` more wait. Thread-safe."""

    def __init__(self, *, max_active: int, max_waiting: int) -> None:
        self.active = threading.BoundedSemaphore(max_active)
        self.admitted = threading.BoundedSemaphore(max_active + max_waiting)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and hold it for the duration of the block. Raises QueueFull."""
        if not self.admitted.acquire(blocking=False):
            raise QueueFull
        try:
            with self.active:
                yield
        finally:
            self.admitted.release()
