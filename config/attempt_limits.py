"""Limits of failed attempts by client address, kept in each web process.

In memory on purpose: a flood must not cost a database or broker call per attempt. With several web processes the limit
is that many times higher, which still ends a flood.
"""

import ipaddress
import threading
import time
from collections.abc import Callable

MOST_ADDRESSES = 10_000  # remembered at once; a flood from more than these is for the lane of the log-in to bound


def _caller(address: str) -> str:
    """Return the address; of IPv6 its /64 network, all of which belongs to one subscriber."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


class AttemptLimit:
    """Failures of each address in a fixed window of time. Thread-safe."""

    def __init__(self, *, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.seconds, self.clock = most, seconds, clock
        self.lock = threading.Lock()
        self.windows: dict[str, tuple[float, int]] = {}  # address → when its window ends, failures in it

    def wait_seconds(self, address: str) -> int:
        """Return how long the address must wait, 0 when it may try."""
        ends, failures = self.windows.get(_caller(address), (0.0, 0))
        left = ends - self.clock()
        return int(left) + 1 if left > 0 and failures >= self.most else 0

    def note_failure(self, address: str) -> None:
        address, now = _caller(address), self.clock()
        with self.lock:
            ends, failures = self.windows.pop(address, (0.0, 0))
            if ends <= now:
                ends, failures = now + self.seconds, 0
            if len(self.windows) >= MOST_ADDRESSES:
                self._forget(now)
            self.windows[address] = (ends, failures + 1)

    def _forget(self, now: float) -> None:
        """Drop the windows that are over, or the one that failed longest ago."""
        self.windows = {address: window for address, window in self.windows.items() if window[0] > now}
        if len(self.windows) >= MOST_ADDRESSES:
            del self.windows[next(iter(self.windows))]
