"""Limits for request bodies that are still arriving: how many, how many bytes, how long."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MEGABYTE = 1024 * 1024
MAX_BODIES = 448  # bodies of one web process; each holds a reader thread
GUARANTEED_PER_ADDRESS = 8  # bodies of one address that are admitted even then
RESERVED_BODIES = 64  # bodies admitted beyond IN_ALL, of addresses that have only a few
MAX_BODIES_PER_ADDRESS = 128  # of them from one client address
MAX_BYTES = 512 * MEGABYTE  # of one web process, in memory and in temporary files
MAX_BYTES_PER_ADDRESS = 128 * MEGABYTE
BODY_TIMEOUT = 60.0  # for one body; the proxy of docker-compose.yml allows as much
CROWDED_BODIES = MAX_BODIES // 2  # from so many bodies on, a body has CROWDED_SECONDS
CROWDED_TIMEOUT = 10.0


class TooManyArrivals(Exception):
    """No further body may arrive now, or no further bytes of this one."""


class BodyTooSlow(Exception):
    """The body has taken longer than it may."""


class Arrivals:
    """Bodies of one process that have not arrived completely, by client address. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.bytes_in_all = 0
        self.unfinished: set[Arrival] = set()

    @contextmanager
    def arriving(self, address: str, *, peer: str = "") -> Iterator["Arrival"]:
        """Admit one body for the length of the block. Raises TooManyArrivals.

        `peer` is the other end of the connection: the proxy, where there is one.
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
        """Mark the bodies that have taken too long. Returns their peers, and the seconds a body has now."""
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
    """One body on its way."""

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
        """Raise TooSlow if the body is late."""
        if self.is_late or time.monotonic() - self.started_at > BODY_TIMEOUT:
            raise BodyTooSlow
