"""Settings of a simulator's behavior, changed permanently or for a number of uses."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """The defaults are Meta's normal behavior, with shorter delays. Fields are also flags (``--delay-statuses 2``)."""

    # webhooks to the portal
    batch: int = 1  # maximum of updates in one POST; updates within gather_seconds are combined
    gather_seconds: float = 0.1
    reorder: int = 0  # shuffle up to this many updates within gather_seconds
    double: float = 0.0  # share of POSTs that are sent twice
    drop: float = 0.0  # share of POSTs that are never sent
    sign: str = "right"  # right, wrong, none, sha1 (only the old header)
    delay_statuses: float = 0.0
    statuses: str = "sent,delivered"  # statuses reported automatically; may include "read", or be empty
    statuses_first: bool = False  # "sent" is posted before the response to the call
    retry_seconds: float = 0.2  # a POST without a 200 is repeated after this time, which then doubles
    retry_most_seconds: float = 60.0
    # responses to the portal's calls
    # right, created (201), 500, html, page (200 from a proxy, message not accepted), half (of the body),
    # cut (message accepted, no response), lost (message not accepted, no response), slow
    answer: str = "right"
    held: bool = False  # accept the message and hold it for the template's quality check
    slow_seconds: float = 20.0
    reject: int = 0  # reject a send with this code
    reject_status: int = 0  # HTTP status of that rejection instead of the code's own
    fail: int = 0  # accept a send and report "failed" with this code
    tell: str = ""  # where codes are reported: answer, status, both; empty: where Meta reports each
    per_second: int = 80
    pair_burst: int = 45
    pair_seconds: float = 6.0  # seconds between messages to one contact, beyond the burst
    # media and templates
    media: str = "right"  # right, gone (404), wrong_bytes, short, html, 500, stranger (another host), redirect, slow
    review: str = "approve"  # approve, reject, wait
    manage: str = "right"  # right, cut (template submitted or deleted, no response), lost (not executed, no response)


CHOICES = {
    "sign": "right wrong none sha1".split(),
    "answer": "right created 500 html page half cut lost slow".split(),
    "tell": ["", "answer", "status", "both"],
    "media": "right gone wrong_bytes short html 500 stranger redirect slow".split(),
    "manage": "right cut lost".split(),
    "review": "approve reject wait".split(),
}


class Switchboard:
    """Current settings. ``set(reject=131026, times=2)`` applies to the next two uses, without ``times`` permanently."""

    def __init__(self, behavior: Behavior) -> None:
        self.permanent = behavior
        self.temporary: dict[str, tuple[Any, int]] = {}
        self.lock = threading.Lock()

    def set(self, *, times: int | None = None, **settings: Any) -> None:
        checked = {name: check(name, value) for name, value in settings.items()}
        with self.lock:
            if times is None:
                self.permanent = replace(self.permanent, **checked)
                for name in checked:
                    self.temporary.pop(name, None)
            else:
                self.temporary |= {name: (value, times) for name, value in checked.items()}

    def see(self, name: str) -> Any:
        """Return the current value without counting a use."""
        with self.lock:
            value, left = self.temporary.get(name, (None, 0))
            return value if left > 0 else getattr(self.permanent, name)

    def take(self, name: str) -> Any:
        """Return the current value and count one use."""
        with self.lock:
            value, left = self.temporary.get(name, (None, 0))
            if left <= 0:
                return getattr(self.permanent, name)
            self.temporary[name] = (value, left - 1)
            return value

    def as_json(self) -> dict[str, Any]:
        with self.lock:
            temporary = {
                name: {"value": value, "times": left} for name, (value, left) in self.temporary.items() if left
            }
            return asdict(self.permanent) | temporary


def check(name: str, value: Any) -> Any:
    kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(Behavior)}
    if name not in kinds:
        raise ValueError(f"Unknown setting {name}. Known settings: {', '.join(kinds)}.")
    if isinstance(value, bool) and kinds[name] is not bool:
        value = int(value)
    if isinstance(value, list | tuple):
        value = ",".join(value)
    value = value in (True, 1, "1", "true", "yes") if kinds[name] is bool else kinds[name](value)
    if value not in CHOICES.get(name, [value]):
        raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}.")
    return value
