"""Rate limit per key and minute for `/uapi` and `/api/v1`, counted in each web process.

Counted in memory on purpose, so that a call costs no query. The limit stops a client in an endless loop.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

SECONDS = 60


class TooManyCalls(Exception):
    """The key has used up its calls. ``wait``: seconds until the next call is allowed."""

    def __init__(self, wait: int) -> None:
        super().__init__(wait)
        self.wait = wait


class CallCounter:
    """Number of calls of each key in the current minute. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ends = 0.0
        self.counts: Counter[str] = Counter()

    def count(self, key: str) -> None:
        """Count one call. Raises TooManyCalls."""
        most, now = settings.API_CALLS_PER_MINUTE, time.monotonic()
        if not most:
            return
        with self.lock:
            if now >= self.ends:
                self.ends = now + SECONDS
                self.counts.clear()
            if self.counts[key] >= most:
                raise TooManyCalls(int(self.ends - now) + 1)
            self.counts[key] += 1


call_counter = CallCounter()


class PerKeyThrottle(BaseThrottle):
    """DRF throttle class for the same limit. DRF answers 429 with Retry-After."""

    seconds: int | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return True
        try:
            call_counter.count(f"user:{request.user.pk}")
        except TooManyCalls as problem:
            self.seconds = problem.wait
            return False
        return True

    def wait(self) -> float | None:
        return self.seconds
