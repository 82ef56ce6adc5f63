"""Limits of failed attempts per client address, in the memory of each web process.

In memory, so that a flood costs no database or broker call per attempt. The total limit is multiplied by the number of
web processes, which still stops a flood.
"""

import threading
import time
from collections.abc import Callable

from config.web.client_address import rate_limit_network

MAX_ADDRESSES = 10_000  # beyond this, the limit of concurrent sign-ins still applies


class AttemptLimit:
    """Number of failures per address in a fixed time window. Thread-safe."""

    def __init__(self, *, max_attempts: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_attempts, self.seconds, self.clock = max_attempts, seconds, clock
        self.lock = threading.Lock()
        self.windows: dict[str, tuple[float, int]] = {}  # address → end of its window, number of failures

    def wait_seconds(self, address: str) -> int:
        """Return the seconds that the address must wait; 0 if it may try now."""
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
        """Delete the failures of an address or device."""
        with self.lock:
            self.windows.pop(rate_limit_network(address), None)

    def _forget(self, now: float) -> None:
        """Delete expired windows, or the oldest one if none has expired."""
        self.windows = {address: window for address, window in self.windows.items() if window[0] > now}
        if len(self.windows) >= MAX_ADDRESSES:
            del self.windows[next(iter(self.windows))]
