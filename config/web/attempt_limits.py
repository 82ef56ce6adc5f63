"""Limits of failed attempts by client address, kept in each web process.

In memory on purpose: a flood must not cost a database or broker call per attempt. With several web processes the limit
is that many times higher, which still ends a flood.
"""

import threading
import time
from collections.abc import Callable

from config.web.client_address import rate_limit_network

MAX_ADDRESSES = 10_000  # remembered at once; a flood from more than these is for the lane of the log-in to bound


class AttemptLimit:
    """Failures of each address in a fixed window of time. Thread-safe."""

    def __init__(self, *, max_attempts: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_attempts, self.seconds, self.clock = max_attempts, seconds, clock
        self.lock = threading.Lock()
        self.windows: dict[str, tuple[float, int]] = {}  # address → when its window ends, failures in it

    def wait_seconds(self, address: str) -> int:
        """Return how long the address must wait, 0 when it may try."""
        ends, failures = self.windows.get(rate_limit_network(address), (0.0, 0))
        left = ends - self.clock()
        return int(left) + 1 if left > 0 and failures >= self.max_attempts else 0

    def record_failure(self, address: str) -> None:
        address, now = rate_limit_network(address), self.clock()
        with self.lock:
            ends, failures = self.windows.pop(address, (0.0, 0))
            if ends <= now:
                ends, failures = now + self.seconds, 0
            if len(self.windows) >= MAX_ADDRESSES:
                self._forget(now)
            self.windows[address] = (ends, failures + 1)

    def reset(self, address: str) -> None:
        """Forget the failures of an address or device."""
        with self.lock:
            self.windows.pop(rate_limit_network(address), None)

    def _forget(self, now: float) -> None:
        """Drop the windows that are over, or the one that failed longest ago."""
        self.windows = {address: window for address, window in self.windows.items() if window[0] > now}
        if len(self.windows) >= MAX_ADDRESSES:
            del self.windows[next(iter(self.windows))]
