"""The why line: the stations a message passed, on what ground, and where it stands now. In words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import outcomes
from bridge.desk import presentation
from bridge.models import Attempt, Delivery, DeliveryDecision, Message
from bridge.relay import submission
from channels_setup.models import ChannelState
from channels_setup.providers.base import ACCEPTED, UNKNOWN

from . import window_trail
from .window_trail import AHEAD, HERE, PASSED, STOPPED, Station

Status = Message.Status


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt, in a sentence; ``answer`` is what the other side said, cut and redacted."""

    sentence: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """A watcher and how its event went."""

    name: str
    sentence: str
    tries: list[Try]


@dataclass(frozen=True, kw_only=True)
class WhyLine:
    stations: list[Station]
    ground: list[str]
    tries: list[Try]
    outcome: list[str]
    told: list[Told]


def line(message: Message, *, now: datetime) -> WhyLine:
    """The why line of one message of either side: what was known of it, each try, and who else was told."""
    deliveries = list(Delivery.objects.filter(message=message).select_related("api_channel").order_by("pk"))
    tries = _tries([delivery.pk for delivery in deliveries])
    own = [one for one in deliveries if one.kind == Delivery.Kind.MESSAGE]
    events = [one for one in deliveries if one.kind == Delivery.Kind.EVENT]
    told = [_told(event, tries[event.pk], now=now) for event in events]
    if message.direction == Message.Direction.INBOUND:
        window = window_trail.of(message)
        return WhyLine(
            stations=list(window_trail.stations(window, events)),
            ground=list(window_trail.ground(message, window, now=now)),
            tries=[],
            outcome=[],
            told=told,
        )
    delivery = own[-1] if own else None
    return WhyLine(
        stations=list(_stations(message, delivery)),
        ground=list(_ground(message, now=now)),
        tries=tries[delivery.pk] if delivery else [],
        outcome=list(_outcome(message, delivery, now=now)),
        told=told,
    )


def _tries(pks: list[int]) -> dict[int, list[Try]]:
    """Each delivery's tries, and between its lives who decided what."""
    attempts: dict[int, list[Attempt]] = {pk: [] for pk in pks}
    decisions: dict[int, list[DeliveryDecision]] = {pk: [] for pk in pks}
    for attempt in Attempt.objects.filter(delivery__in=pks).order_by("pk"):
        attempts[attempt.delivery_id].append(attempt)
    for decision in DeliveryDecision.objects.filter(delivery__in=pks).select_related("by").order_by("pk"):
        decisions[decision.delivery_id].append(decision)
    return {pk: list(_lives(attempts[pk], decisions[pk])) for pk in pks}


def _lives(attempts: list[Attempt], decisions: list[DeliveryDecision]) -> Iterator[Try]:
    waiting = list(decisions)
    for attempt in attempts:
        while waiting and waiting[0].attempts < attempt.number:
            yield _describe_decision(waiting.pop(0))
        yield _try(attempt)
    yield from map(_describe_decision, waiting)


def _describe_decision(decision: DeliveryDecision) -> Try:
    words = {
        "what": decision.get_what_display(),
        "at": timezone.localtime(decision.at).strftime("%H:%M:%S"),
        "by": presentation.person_name(decision.by),
    }
    return Try(
        sentence=(_("%(at)s: %(what)s by %(by)s.") if decision.by else _("%(at)s: %(what)s.")) % words, answer=""
    )


def _told(event: Delivery, tries: list[Try], *, now: datetime) -> Told:
    """What became of the event for one watcher."""
    if event.state == Delivery.State.DELIVERED and event.finished_at:
        said = _("told, %(at)s") % {"at": presentation.exactly(event.finished_at, now=now)}
    elif event.state in Delivery.UNFINISHED and event.attempts:
        left = max(event.next_attempt_at - now, timedelta(0))
        said = _("not told yet; next attempt in %(span)s") % {"span": presentation.duration(left)}
    elif event.state in Delivery.UNFINISHED:
        said = pgettext("watcher", "waiting for its turn")
    else:
        said = str(event.get_state_display())
    if event.reason and event.state != Delivery.State.DELIVERED:
        said += f": {outcomes.render_sentence(event.reason)}"
    return Told(name=event.api_channel.name, sentence=said, tries=tries)


def _stations(message: Message, delivery: Delivery | None) -> Iterator[Station]:
    yield Station(name=pgettext("station", "accepted"), state=PASSED)
    yield Station(name=pgettext("station", "window"), state=PASSED)
    is_template = message.kind == Message.Kind.TEMPLATE
    yield Station(
        name=pgettext("station", "as a template") if is_template else pgettext("station", "as text"), state=PASSED
    )
    handed, arrived = _last_two(message)
    number = max(delivery.attempts, 1) if delivery else 1
    yield Station(name=pgettext("station", "attempt %(number)d") % {"number": number}, state=handed)
    is_read = message.status == Status.READ
    yield Station(name=pgettext("station", "read") if is_read else pgettext("station", "delivered"), state=arrived)


def _last_two(message: Message) -> tuple[str, str]:
    """How the attempt and the arrival stand, from the message's status."""
    if message.status in (Status.DELIVERED, Status.READ):
        return PASSED, PASSED
    if message.status == Status.SENT:
        return PASSED, HERE
    if message.status == Status.FAILED:
        # The provider took it and could not deliver it, or it never got that far.
        return (PASSED, STOPPED) if message.reason == "provider_failed" else (STOPPED, AHEAD)
    return HERE, AHEAD


def _ground(message: Message, *, now: datetime) -> Iterator[str]:
    """Why it went the way it went: what was known of the window when it was handed in."""
    author = presentation.person_name(message.author)
    handed_in = {"at": presentation.exactly(message.created_at, now=now), "author": author}
    yield (_("%(author)s, %(at)s.") if author else _("Handed in by a program, %(at)s.")) % handed_in
    yield from _how(message)
    window = message.details.get("window")
    expires_at = parse_datetime(str(message.details.get("expires_at") or ""))
    is_template = message.kind == Message.Kind.TEMPLATE
    if window == "unrestricted":
        yield _("This provider knows no 24-hour window, so it goes out as plain text.")
    elif window == "open" and expires_at:
        words = {"until": presentation.exactly(expires_at, now=now)}
        if is_template:
            yield _("The window was open until %(until)s; it goes out as a template.") % words
        else:
            yield _("The window was open until %(until)s, so it goes out as plain text.") % words
    elif is_template:
        yield _("The window was closed, so it goes out as an approved template.")


def _how(message: Message) -> Iterator[str]:
    """Which template it is, how it was found, and with which values."""
    template = message.template
    if not template:
        return
    named = {"name": template.get("name", ""), "language": template.get("language", "")}
    if message.details.get("how") == submission.RECOGNIZED:
        yield _("The text was recognized as the template “%(name)s” (%(language)s).") % named
    elif message.details.get("how") == submission.CHOSEN:
        yield _("The template “%(name)s” (%(language)s) was chosen.") % named
    given = template.get("parameters") or []
    pairs = given.items() if isinstance(given, dict) else enumerate(given, start=1)
    values = ", ".join(f"{key}: {value}" for key, value in pairs)
    if values:
        yield _("Values: %(values)s.") % {"values": values}


def _try(attempt: Attempt) -> Try:
    words: dict[str, Any] = {
        "number": attempt.number,
        "at": timezone.localtime(attempt.started_at).strftime("%H:%M:%S"),
        "took": presentation.seconds_words(attempt.duration_ms),
        "status": attempt.http_status,
    }
    if attempt.verdict == ACCEPTED:
        said = pgettext("attempt", "handed over")
    elif attempt.http_status:
        said = _("answer %(status)s in %(took)s") % words
    elif attempt.verdict == UNKNOWN:
        said = _("no answer in %(took)s") % words
    else:
        said = _("not handed over")
    words["said"] = said
    sentence = _("Attempt %(number)d, %(at)s: %(said)s.") % words
    if attempt.reason:
        sentence += " " + outcomes.render_sentence(attempt.reason)
    return Try(sentence=sentence, answer=attempt.answer.strip())


def _outcome(message: Message, delivery: Delivery | None, *, now: datetime) -> Iterator[str]:
    waits = message.status in (Status.PENDING, Status.SENDING)
    if waits and message.api_channel.state == ChannelState.PAUSED:
        yield _("The channel is paused: this waits, and goes out when an admin resumes it.")
    elif delivery is not None and delivery.state == Delivery.State.PENDING and delivery.attempts:
        seconds = (delivery.next_attempt_at - now).total_seconds()
        if seconds > 0:
            yield _("Next attempt in %(span)s.") % {"span": presentation.duration(delivery.next_attempt_at - now)}
        else:
            yield _("The next attempt is due now.")
    elif waits:
        yield _("Waiting for its turn: messages of one chat go out one after the other.")
    if message.status in (Status.FAILED, Status.UNKNOWN) and message.reason:
        yield message.sentence
    elif message.status == Status.SENT:
        yield _("The provider took it. It has not yet said that the message was delivered.")
    elif message.status in (Status.DELIVERED, Status.READ) and message.status_at:
        word = _("Read, %(at)s.") if message.status == Status.READ else _("Delivered, %(at)s.")
        yield word % {"at": presentation.exactly(message.status_at, now=now)}
