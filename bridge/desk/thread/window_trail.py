"""The why line of what a client wrote: when, by whose clock, and what it did to the window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import service_window
from bridge.desk import presentation
from bridge.models import Delivery, Message, ServiceWindow

PASSED, HERE, STOPPED, AHEAD = "passed", "here", "stopped", "ahead"
FREE, LATE, OPENED, KEPT = "free", "late", "opened", "kept"


@dataclass(frozen=True, kw_only=True)
class Station:
    name: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a client's message did to the window, and until when it held it open."""

    what: str
    until: datetime | None = None


def of(message: Message) -> Moved:
    if not message.api_channel.provider.service_window:
        return Moved(what=FREE)
    until = service_window.compute_expiry(message.provider_time or message.created_at, now=message.created_at)
    if until <= message.created_at:
        return Moved(what=LATE, until=until)
    opened = ServiceWindow.objects.filter(conversation=message.conversation_id, opened_by=message).exists()
    return Moved(what=OPENED if opened else KEPT, until=until)


def stations(moved: Moved, events: Sequence[Delivery]) -> Iterator[Station]:
    yield Station(name=pgettext("station", "received"), state=PASSED)
    yield Station(name=pgettext("station", "stored"), state=PASSED)
    if moved.what == LATE:
        yield Station(name=pgettext("station", "window"), state=STOPPED)
    elif moved.what != FREE:
        yield Station(name=pgettext("station", "window"), state=PASSED)
    if events:
        yield Station(name=pgettext("station", "passed on"), state=_passed_on(events))


def _passed_on(events: Sequence[Delivery]) -> str:
    states = {event.state for event in events}
    if states & set(Delivery.UNFINISHED):
        return HERE
    return PASSED if states == {Delivery.State.DELIVERED} else STOPPED


def ground(message: Message, moved: Moved, *, now: datetime) -> Iterator[str]:
    stored = presentation.exactly(message.created_at, now=now)
    if message.provider_time is None:
        yield _("Reached us %(at)s; the provider did not say when it was written.") % {"at": stored}
    else:
        words = {"written": presentation.exactly(message.provider_time, now=now), "at": stored}
        yield _("Written %(written)s by the provider's clock, reached us %(at)s.") % words
        if message.details.get("odd_clock"):
            yield _("That clock is far off.")
    until = presentation.exactly(moved.until, now=now) if moved.until else ""
    yield {
        FREE: _("This provider knows no 24-hour window."),
        LATE: _("It came more than 24 hours late, so it opened no window."),
        OPENED: _("It opened the window until %(until)s.") % {"until": until},
        KEPT: _("It kept the window open until %(until)s.") % {"until": until},
    }[moved.what]
