"""Redis connection for work that the portal can do without: short timeouts, and a pause after an error.

A Redis that is down must not delay web requests. After an error the callers skip Redis for a few seconds.
"""

from __future__ import annotations

import time
from functools import cached_property

import redis
from django.conf import settings

PAUSE_SECONDS = 5.0  # after an error


class OptionalRedis:
    """Lazy Redis client with a pause. ``timeout`` is in seconds, for connecting and for each response."""

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout
        self.paused_until = 0.0

    @cached_property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=self.timeout, socket_timeout=self.timeout
        )

    @property
    def is_paused(self) -> bool:
        return time.monotonic() < self.paused_until

    def pause(self) -> None:
        """Start the pause. Callers do this after an error and ask ``is_paused`` before the next call."""
        self.paused_until = time.monotonic() + PAUSE_SECONDS
