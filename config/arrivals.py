"""Limits for request bodies that are still arriving: how many, how many bytes, how long."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MEGABYTE = 1024 * 1024
IN_ALL = 448  # bodies of one web process; each holds a reader thread
PER_ADDRESS = 128  # of them from one client address
BYTES_IN_ALL = 512 * MEGABYTE  # of one web process, in memory and in temporary files
BYTES_PER_ADDRESS = 128 * MEGABYTE
SECONDS = 60.0  # for one body; the proxy of docker-compose.yml allows as much


class TooManyArrivals(Exception):
    """No further body may arrive now, or no further bytes of this one."""


class TooSlow(Exception):
    """The body has taken longer than SECONDS."""


class Arrivals:
    """Bodies of one process that have not arrived completely, by client address. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.bodies_in_all = self.bytes_in_all = 0

    @contextmanager
    def arriving(self, address: str) -> Iterator["Arrival"]:
        """Admit one body for the length of the block. Raises TooManyArrivals."""
        with self.lock:
            if self.bodies_in_all >= IN_ALL or self.bodies[address] >= PER_ADDRESS:
                raise TooManyArrivals
            self.bodies[address] += 1
            self.bodies_in_all += 1
        arrival = Arrival(self, address)
        try:
            yield arrival
        finally:
            with self.lock:
                self._release(address, arrival.total)

    def _release(self, address: str, total: int) -> None:
        self.bodies_in_all -= 1
        self.bytes_in_all -= total
        self.bodies[address] -= 1
        self.bytes[address] -= total
        if not self.bodies[address]:
            del self.bodies[address], self.bytes[address]


class Arrival:
    """One body on its way."""

    def __init__(self, arrivals: Arrivals, address: str) -> None:
        self.arrivals, self.address, self.total = arrivals, address, 0
        self.deadline = time.monotonic() + SECONDS

    def add(self, size: int) -> int:
        """Count `size` more bytes and return the total. Raises TooManyArrivals and TooSlow."""
        if time.monotonic() > self.deadline:
            raise TooSlow
        with self.arrivals.lock:
            if (
                self.arrivals.bytes_in_all + size > BYTES_IN_ALL
                or self.arrivals.bytes[self.address] + size > BYTES_PER_ADDRESS
            ):
                raise TooManyArrivals
            self.arrivals.bytes_in_all += size
            self.arrivals.bytes[self.address] += size
            self.total += size
        return self.total
