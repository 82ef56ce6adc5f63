"""Exchanges: generators that make one call after another. Many of them run at once in one thread.

``response = yield Call(request)`` makes a call and returns its response, or raises what ``send`` raises. The value that
the generator returns is the exchange's result.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from channels_setup.providers.base import ApiRequest, ApiResponse

from .concurrent_calls import HasFileno, Result, get_thread_calls
from .sending import send
from .transfer import MAX_RESPONSE_BYTES

KEEP_NAMES_SECONDS = 30.0  # a call connects to a checked address, so a name that changes meanwhile gains nothing

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call with its limits. ``seconds``: for the whole call, default ``DEADLINE_SECONDS``."""

    request: ApiRequest
    max_bytes: int = MAX_RESPONSE_BYTES
    seconds: float | None = None


Exchange = Generator[Call, ApiResponse, T]


def run_exchange(exchange: Exchange[T]) -> T:
    """Run one exchange and return its result."""
    try:
        call = next(exchange)
        while True:
            try:
                response = send(call.request, max_bytes=call.max_bytes, seconds=call.seconds)
            except Exception as problem:
                call = exchange.throw(problem)
            else:
                call = exchange.send(response)
    except StopIteration as end:
        result: T = end.value
        return result


class RunningExchanges(Generic[T]):
    """Exchanges that run at once, for one thread. An exchange must not raise: its result says what failed."""

    def __init__(self) -> None:
        self._calls = get_thread_calls("exchanges", keep_names_seconds=KEEP_NAMES_SECONDS)
        self._results: list[T] = []
        self._count = 0

    def __len__(self) -> int:
        """Return how many exchanges have no collected result yet."""
        return self._count

    def start(self, exchange: Exchange[T]) -> None:
        self._advance(exchange, None)
        self._count += 1  # afterwards: one that cannot be started has no result to wait for

    def wait(self, seconds: float, *, watch: HasFileno | None = None) -> list[T]:
        """Return the results of exchanges that have ended; wait up to ``seconds`` for the first one.

        The wait ends without a result when ``watch`` becomes readable.
        """
        if not self._results:
            for exchange, result in self._calls.wait(seconds, watch=watch):
                self._advance(exchange, result)
        results, self._results = self._results, []
        self._count -= len(results)
        return results

    def cancel(self) -> None:
        """Give up all exchanges. What was sent stays sent."""
        self._calls.cancel_all()
        self._results, self._count = [], 0

    def _advance(self, exchange: Exchange[T], result: Result | None) -> None:
        """Run an exchange up to its next call, which is started, or to its end."""
        try:
            if result is None:
                call = next(exchange)
            elif isinstance(result, Exception):
                call = exchange.throw(result)
            else:
                call = exchange.send(result)
        except StopIteration as end:
            self._results.append(end.value)
        else:
            self._calls.start(exchange, call.request, max_bytes=call.max_bytes, seconds=call.seconds)
