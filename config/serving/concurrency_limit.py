"""Lanes: requests of one kind that may take only some of a web process's places."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class QueueFull(Exception):
    """So many requests of this kind are waiting that one more is refused."""


class ConcurrencyLimit:
    """Let `width` requests work at once and `queue` more wait for them. Thread-safe."""

    def __init__(self, *, max_active: int, max_waiting: int) -> None:
        self.active = threading.BoundedSemaphore(max_active)
        self.admitted = threading.BoundedSemaphore(max_active + max_waiting)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a turn and keep it for the length of the block. Raises LaneFull."""
        if not self.admitted.acquire(blocking=False):
            raise QueueFull
        try:
            with self.active:
                yield
        finally:
            self.admitted.release()
