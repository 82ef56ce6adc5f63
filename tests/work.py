"""Measures of work that do not depend on how busy the machine is.

`count_calls` and `count_lines` count what Python executes. Work inside one call (a regular expression, a text search)
cannot be counted; `measure_cost` relates its processor time to a unit of work that the same process has just done.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from types import FrameType

TRIES = 4
UNIT_SECONDS = 0.01  # processor time of one unit on an idle machine of 2026
# No machine is five times as fast as that: work under this share of the limit needs no unit to compare with.
FASTEST_UNIT_SECONDS = UNIT_SECONDS / 5


def count_calls(action: Callable[[], object]) -> int:
    """Count all function calls, built-in functions included."""
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def count_lines(action: Callable[[], object]) -> int:
    """Count the executed lines of Python, also in loops that call nothing."""
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def measure_cost(action: Callable[[], object], *, limit: float) -> float:
    """Return the cost of the action in units of work: the best of a few tries, or the first within `limit`."""
    best = float("inf")
    for _try in range(TRIES):
        seconds = _processor_seconds(action)
        if seconds <= limit * FASTEST_UNIT_SECONDS:
            return seconds / FASTEST_UNIT_SECONDS
        best = min(best, seconds / _processor_seconds(_run_unit))
        if best <= limit:
            break
    return best


def _run_unit() -> None:
    """Run one unit of work: a mixture of loops, calls and patterns."""
    text = "word <b>and</b> 12345 " * 400
    for _round in range(25):
        found = [match[0].lower() for match in re.finditer(r"[a-z]+|<[^<>]*>|\d+", text)]
        assert len("".join(found)) > 100 and sum(map(len, found)) > 100


def _processor_seconds(action: Callable[[], object]) -> float:
    started = time.thread_time()
    action()
    return time.thread_time() - started
