"""Host names resolved and checked: which addresses a call may connect to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain, zip_longest
from typing import Any

from . import addresses
from .errors import ConnectionFailed
from .url_rules import WebAddress, check_addresses

MAX_ADDRESSES = 4  # tried for one connection
MAX_KEPT_NAMES = 1_000
THREADS = 16  # the system's resolver blocks; one slow name must not delay the others

Name = tuple[str, str, int]


def resolve_checked(target: WebAddress) -> list[str]:
    """Return the addresses of a host that a call may connect to.

    Raises ForbiddenAddress if one of them may not be called, and ConnectionFailed if the name is not found.
    """
    try:
        resolved = addresses.resolve(target.host, target.port)
    except OSError as error:
        raise ConnectionFailed("name_not_found") from error
    check_addresses(resolved, scheme=target.scheme, port=target.port)
    return _choose_of_both_families(resolved)


def _choose_of_both_families(resolved: Sequence[str]) -> list[str]:
    """Return the addresses to try. A broken IPv6 must not hide the IPv4 addresses, or the other way round."""
    first = [address for address in resolved if (":" in address) == (":" in resolved[0])]
    second = [address for address in resolved if address not in first]
    return [address for address in chain(*zip_longest(first, second)) if address][:MAX_ADDRESSES]


class NameLookups:
    """Lookups of host names for calls, one of each name at a time, by threads.

    ``keep_seconds``: how long the result is used again. ``wake`` is called by other threads as a lookup ends.
    """

    def __init__(self, *, keep_seconds: float, wake: Callable[[], None]) -> None:
        self._keep_seconds = keep_seconds
        self._wake = wake
        self._kept: dict[Name, tuple[float, list[str]]] = {}
        # The calls that wait for a lookup, each with its deadline.
        self._running: dict[Name, tuple[Future[list[str]], list[tuple[float, Any]]]] = {}

    def __len__(self) -> int:
        """Return how many calls wait for a name."""
        return sum(len(waiting) for _future, waiting in self._running.values())

    def get_known(self, target: WebAddress) -> list[str] | None:
        """Return the addresses of a host if they are known without a lookup."""
        kept = self._kept.get((target.scheme, target.host, target.port))
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        return resolve_checked(target) if target.is_numeric else None

    def start(self, target: WebAddress, call: Any, *, deadline: float) -> None:
        """Look up a name for a call, or wait for the lookup that runs."""
        name = target.scheme, target.host, target.port
        if name not in self._running:
            future = _threads(os.getpid()).submit(resolve_checked, target)
            self._running[name] = future, []
            future.add_done_callback(lambda _future: self._wake())
        self._running[name][1].append((deadline, call))

    def get_next_deadline(self, latest: float) -> float:
        """Return the time of the next deadline of a waiting call, or ``latest``."""
        return min((each for _f, waiting in self._running.values() for each, _call in waiting), default=latest)

    def collect(self) -> Iterator[tuple[Any, list[str] | BaseException]]:
        """Yield the calls whose name was found or not, or whose deadline has passed."""
        now = time.monotonic()
        for name, (future, waiting) in list(self._running.items()):
            result: list[str] | BaseException = TimeoutError()
            if is_done := future.done():  # asked once, because it may end meanwhile
                del self._running[name]
                result = future.exception() or self._keep(name, future.result())
            for deadline, call in waiting[:]:
                if deadline <= now or is_done:
                    waiting.remove((deadline, call))
                    yield call, result if deadline > now else TimeoutError()
            if not waiting and future.cancel():  # one that runs is kept, so that no other thread waits for the same
                self._running.pop(name, None)

    def forget_calls(self) -> None:
        for _future, waiting in self._running.values():
            waiting.clear()

    def _keep(self, name: Name, resolved: list[str]) -> list[str]:
        if self._keep_seconds:
            if len(self._kept) >= MAX_KEPT_NAMES:
                self._kept.clear()
            self._kept[name] = time.monotonic() + self._keep_seconds, resolved
        return resolved


@cache
def _threads(_process: int) -> ThreadPoolExecutor:
    """Return the threads of a process. A forked one has none of its parent's."""
    return ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="resolver")
