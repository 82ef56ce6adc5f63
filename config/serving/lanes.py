"""Lanes: requests of one kind that may take only some of a web process's places."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class LaneFull(Exception):
    """So many requests of this kind are waiting that one more is refused."""


class Lane:
    """Let `width` requests work at once and `queue` more wait for them. Thread-safe."""

    def __init__(self, *, width: int, queue: int) -> None:
        self.working = threading.BoundedSemaphore(width)
        self.admitted = threading.BoundedSemaphore(width + queue)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and keep it for the length of the block. Raises LaneFull."""
        if not self.admitted.acquire(blocking=False):
            raise LaneFull
        try:
            with self.working:
                yield
        finally:
            self.admitted.release()
