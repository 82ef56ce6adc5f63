"""How much work something takes, measured so that a busy machine changes nothing.

``calls`` counts what Python calls. Where all the work is inside of one call (a regular expression, a search in a text)
``cost`` measures it in units of work that this very process has just done, the best of a few tries.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from types import FrameType

TRIES = 4
UNIT_SECONDS = 0.01  # of the unit on an idle machine of 2026: what is printed is meant for people


def calls(action: Callable[[], object]) -> int:
    """Every call of a function, of Python's own too: what time depends on, and the same on every machine."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def lines(action: Callable[[], object]) -> int:
    """Every line of Python that runs, also in loops that call nothing."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return seen

    before = sys.gettrace()
    sys.settrace(seen)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def cost(action: Callable[[], object], *, enough: float) -> float:
    """Units of work that the action takes; the first try that takes at most ``enough`` ends the measuring."""
    best = float("inf")
    for _try in range(TRIES):
        unit = _seconds(_one_unit)
        best = min(best, _seconds(action) / unit)
        if best <= enough:
            break
    return best


def _one_unit() -> None:
    """A mixture of loops, calls and patterns: some UNIT_SECONDS on an idle machine."""
    text = "word <b>and</b> 12345 " * 400
    for _round in range(25):
        found = [match[0].lower() for match in re.finditer(r"[a-z]+|<[^<>]*>|\d+", text)]
        assert len("".join(found)) > 100 and sum(map(len, found)) > 100


def _seconds(action: Callable[[], object]) -> float:
    begun = time.thread_time()
    action()
    return time.thread_time() - begun
