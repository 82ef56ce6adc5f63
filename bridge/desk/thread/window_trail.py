"""Delivery trail of an inbound message: times, and its effect on the service window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import service_window
from bridge.desk import presentation
from bridge.models import Delivery, Message, ServiceWindow

PASSED, CURRENT, STOPPED, AHEAD = "passed", "here", "stopped", "ahead"
UNRESTRICTED, LATE, OPENED, EXTENDED = "unrestricted", "late", "opened", "extended"


@dataclass(frozen=True, kw_only=True)
class TrailStep:
    name: str
    state: str


@dataclass(frozen=True, kw_only=True)
class WindowEffect:
    """Effect of an inbound message on the window. ``until``: the resulting expiry."""

    kind: str
    until: datetime | None = None


def find_window_effect(message: Message) -> WindowEffect:
    if not message.api_channel.provider.service_window:
        return WindowEffect(kind=UNRESTRICTED)
    until = service_window.compute_expiry(message.provider_time or message.created_at, now=message.created_at)
    if until <= message.created_at:
        return WindowEffect(kind=LATE, until=until)
    opened = ServiceWindow.objects.filter(conversation=message.conversation_id, opened_by=message).exists()
    return WindowEffect(kind=OPENED if opened else EXTENDED, until=until)


def window_steps(effect: WindowEffect, events: Sequence[Delivery]) -> Iterator[TrailStep]:
    yield TrailStep(name=pgettext("step", "received"), state=PASSED)
    yield TrailStep(name=pgettext("step", "stored"), state=PASSED)
    if effect.kind == LATE:
        yield TrailStep(name=pgettext("step", "window"), state=STOPPED)
    elif effect.kind != UNRESTRICTED:
        yield TrailStep(name=pgettext("step", "window"), state=PASSED)
    if events:
        yield TrailStep(name=pgettext("step", "passed on"), state=_subscriber_step(events))


def _subscriber_step(events: Sequence[Delivery]) -> str:
    states = {event.state for event in events}
    if states & set(Delivery.UNFINISHED):
        return CURRENT
    return PASSED if states == {Delivery.State.DELIVERED} else STOPPED


def window_reasons(message: Message, effect: WindowEffect, *, now: datetime) -> Iterator[str]:
    stored = presentation.format_exact_moment(message.created_at, now=now)
    if message.provider_time is None:
        yield _("Received %(at)s; the provider did not say when it was written.") % {"at": stored}
    else:
        words = {"written": presentation.format_exact_moment(message.provider_time, now=now), "at": stored}
        yield _("Written %(written)s by the provider's clock, received %(at)s.") % words
        if message.details.get("odd_clock"):
            yield _("The provider's clock is wrong.")
    until = presentation.format_exact_moment(effect.until, now=now) if effect.until else ""
    yield {
        UNRESTRICTED: _("This provider has no 24-hour window."),
        LATE: _("The message came more than 24 hours late, so it did not open a window."),
        OPENED: _("The message opened the window until %(until)s.") % {"until": until},
        EXTENDED: _("The message extended the window until %(until)s.") % {"until": until},
    }[effect.kind]
