"""Limits for request bodies that are still arriving: number, bytes and time."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MEGABYTE = 1024 * 1024
MAX_BODIES = 448  # per web process; each body occupies a reader thread
GUARANTEED_PER_ADDRESS = 8  # per address; admitted even when MAX_BODIES is reached
RESERVED_BODIES = 64  # admitted beyond MAX_BODIES, for addresses with few bodies
MAX_BODIES_PER_ADDRESS = 128  # per client address
MAX_BYTES = 512 * MEGABYTE  # per web process, in memory and temporary files
MAX_BYTES_PER_ADDRESS = 128 * MEGABYTE
BODY_TIMEOUT = 60.0  # seconds per body; the proxy of docker-compose.yml has the same limit
CROWDED_BODIES = MAX_BODIES // 2  # from this number on, CROWDED_TIMEOUT applies
CROWDED_TIMEOUT = 10.0


class TooManyArrivals(Exception):
    """Too many bodies or bytes are arriving."""


class BodyTooSlow(Exception):
    """The body has exceeded its time limit."""


class Arrivals:
    """Incomplete request bodies of one process by client address. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.bytes_in_all = 0
        self.unfinished: set[Arrival] = set()

    @contextmanager
    def arriving(self, address: str, *, peer: str = "") -> Iterator["Arrival"]:
        """Admit one body for the duration of the block. Raises TooManyArrivals.

        `peer` is the other end of the connection, which can be a proxy.
        """
        with self.lock:
            if not self._has_room(address):
                raise TooManyArrivals
            self.bodies[address] += 1
            arrival = Arrival(self, address, peer)
            self.unfinished.add(arrival)
        try:
            yield arrival
        finally:
            with self.lock:
                self._release(arrival)

    def _has_room(self, address: str) -> bool:
        count, of_address = len(self.unfinished), self.bodies[address]
        return of_address < MAX_BODIES_PER_ADDRESS and (
            count < MAX_BODIES or (of_address < GUARANTEED_PER_ADDRESS and count < MAX_BODIES + RESERVED_BODIES)
        )

    def _release(self, arrival: "Arrival") -> None:
        address = arrival.address
        self.unfinished.discard(arrival)
        self.bytes_in_all -= arrival.total
        self.bodies[address] -= 1
        self.bytes[address] -= arrival.total
        if not self.bodies[address]:
            del self.bodies[address], self.bytes[address]

    def expire(self) -> tuple[set[str], float]:
        """Mark late bodies. Return their peers, and the current time limit in seconds."""
        if not self.unfinished:
            return set(), BODY_TIMEOUT
        now = time.monotonic()
        with self.lock:
            seconds = BODY_TIMEOUT if len(self.unfinished) < CROWDED_BODIES else min(BODY_TIMEOUT, CROWDED_TIMEOUT)
            late = [arrival for arrival in self.unfinished if now - arrival.started_at >= seconds]
            for arrival in late:
                arrival.is_late = True
        return {arrival.peer for arrival in late}, seconds


class Arrival:
    """One body that is arriving."""

    def __init__(self, arrivals: Arrivals, address: str, peer: str) -> None:
        self.arrivals, self.address, self.peer, self.total = arrivals, address, peer, 0
        self.started_at = time.monotonic()
        self.is_late = False

    def add(self, size: int) -> int:
        """Count `size` more bytes and return the total. Raises TooManyArrivals."""
        with self.arrivals.lock:
            if (
                self.arrivals.bytes_in_all + size > MAX_BYTES
                or self.arrivals.bytes[self.address] + size > MAX_BYTES_PER_ADDRESS
            ):
                raise TooManyArrivals
            self.arrivals.bytes_in_all += size
            self.arrivals.bytes[self.address] += size
            self.total += size
        return self.total

    def check_deadline(self) -> None:
        """Raise BodyTooSlow if the body is late."""
        if self.is_late or time.monotonic() - self.started_at > BODY_TIMEOUT:
            raise BodyTooSlow
