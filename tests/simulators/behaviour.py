"""How a simulator behaves, and how it is told to misbehave: for good, or a number of times."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """The defaults are Meta on a good day, only quicker. Each may be a flag (``--delay-statuses 2``)."""

    # webhooks to the portal
    batch: int = 1  # so many updates in one POST, of those that come within gather_seconds
    gather_seconds: float = 0.1
    reorder: int = 0  # shuffle so many updates, of those that come within gather_seconds
    double: float = 0.0  # this share of POSTs comes twice
    drop: float = 0.0  # this share never comes
    sign: str = "right"  # right, wrong, none, sha1 (the header of old alone)
    delay_statuses: float = 0.0
    statuses: str = "sent,delivered"  # what becomes of a message by itself; "read" as well, or nothing
    statuses_first: bool = False  # "sent" is posted before the call is answered
    retry_seconds: float = 0.2  # what was not answered 200 comes again after this, then after twice as long …
    retry_most_seconds: float = 60.0
    # answers to the portal's calls
    # right, created (201), 500, html, page (200, but no API: not taken), half, cut (taken, no answer), lost, slow
    answer: str = "right"
    held: bool = False  # taken, and held back for the template's quality
    slow_seconds: float = 20.0
    reject: int = 0  # refuse a send with this code
    reject_status: int = 0  # … under this HTTP status, whatever belongs to the code
    fail: int = 0  # take it, and report "failed" with this code
    tell: str = ""  # where codes are told: answer, status, both; empty: each where Meta tells it
    per_second: int = 80
    pair_burst: int = 45
    pair_seconds: float = 6.0  # one message to one contact in so many seconds, beyond the burst
    # media and templates
    media: str = "right"  # right, gone (404), wrong_bytes, short, html, 500, stranger (another host), redirect, slow
    review: str = "approve"  # approve, reject, wait
    manage: str = "right"  # right, cut (a template was handed in or deleted, no answer), lost (it was not)


CHOICES = {
    "sign": "right wrong none sha1".split(),
    "answer": "right created 500 html page half cut lost slow".split(),
    "tell": ["", "answer", "status", "both"],
    "media": "right gone wrong_bytes short html 500 stranger redirect slow".split(),
    "manage": "right cut lost".split(),
    "review": "approve reject wait".split(),
}


class Switchboard:
    """``set(reject=131026, times=2)``: the next two; without ``times``: until said otherwise."""

    def __init__(self, behaviour: Behavior) -> None:
        self.lasting = behaviour
        self.passing: dict[str, tuple[Any, int]] = {}
        self.lock = threading.Lock()

    def set(self, *, times: int | None = None, **settings: Any) -> None:
        checked = {name: check(name, value) for name, value in settings.items()}
        with self.lock:
            if times is None:
                self.lasting = replace(self.lasting, **checked)
                for name in checked:
                    self.passing.pop(name, None)
            else:
                self.passing |= {name: (value, times) for name, value in checked.items()}

    def see(self, name: str) -> Any:
        """The value now, without using it up."""
        with self.lock:
            value, left = self.passing.get(name, (None, 0))
            return value if left > 0 else getattr(self.lasting, name)

    def take(self, name: str) -> Any:
        """The value now; one of its times is over."""
        with self.lock:
            value, left = self.passing.get(name, (None, 0))
            if left <= 0:
                return getattr(self.lasting, name)
            self.passing[name] = (value, left - 1)
            return value

    def as_json(self) -> dict[str, Any]:
        with self.lock:
            passing = {name: {"value": value, "times": left} for name, (value, left) in self.passing.items() if left}
            return asdict(self.lasting) | passing


def check(name: str, value: Any) -> Any:
    kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(Behavior)}
    if name not in kinds:
        raise ValueError(f"There is no {name}; there are {', '.join(kinds)}.")
    if isinstance(value, bool) and kinds[name] is not bool:
        value = int(value)
    if isinstance(value, list | tuple):
        value = ",".join(value)
    value = value in (True, 1, "1", "true", "yes") if kinds[name] is bool else kinds[name](value)
    if value not in CHOICES.get(name, [value]):
        raise ValueError(f"{name} is one of {', '.join(CHOICES[name])}.")
    return value
