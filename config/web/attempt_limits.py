"""Limits of failed attempts by client address, kept in each web process.

In memory on purpose: a flood must not cost a database or broker call per attempt. With several web processes the limit
is that many times higher, which still ends a flood.
"""

import threading
import time
from collections.abc import Callable

from config.web.client_address import network_of

MOST_ADDRESSES = 10_000  # remembered at once; a flood from more than these is for the lane of the log-in to bound


class AttemptLimit:
    """Failures of each address in a fixed window of time. Thread-safe."""

    def __init__(self, *, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.seconds, self.clock = most, seconds, clock
        self.lock = threading.Lock()
        self.windows: dict[str, tuple[float, int]] = {}  # address → when its window ends, failures in it

    def wait_seconds(self, address: str) -> int:
        """Return how long the address must wait, 0 when it may try."""
        ends, failures = self.windows.get(network_of(address), (0.0, 0))
        left = ends - self.clock()
        return int(left) + 1 if left > 0 and failures >= self.most else 0

    def note_failure(self, address: str) -> None:
        address, now = network_of(address), self.clock()
        with self.lock:
            ends, failures = self.windows.pop(address, (0.0, 0))
            if ends <= now:
                ends, failures = now + self.seconds, 0
            if len(self.windows) >= MOST_ADDRESSES:
                self._forget(now)
            self.windows[address] = (ends, failures + 1)

    def forgive(self, address: str) -> None:
        """Forget the failures of an address or device."""
        with self.lock:
            self.windows.pop(network_of(address), None)

    def _forget(self, now: float) -> None:
        """Drop the windows that are over, or the one that failed longest ago."""
        self.windows = {address: window for address, window in self.windows.items() if window[0] > now}
        if len(self.windows) >= MOST_ADDRESSES:
            del self.windows[next(iter(self.windows))]
