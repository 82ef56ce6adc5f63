"""Delivery trail of a message: steps, reasons, attempts, outcome and subscribers, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import outcomes, phone_visibility
from bridge.desk import presentation
from bridge.models import Attempt, Delivery, DeliveryDecision, Message
from bridge.relay import reply_submission
from channels_setup.models import ChannelState
from channels_setup.providers.base import ACCEPTED, UNKNOWN

from . import window_trail
from .window_trail import AHEAD, CURRENT, PASSED, STOPPED, TrailStep

Status = Message.Status


@dataclass(frozen=True, kw_only=True)
class AttemptLine:
    """One attempt as a sentence. ``response``: its body, truncated and redacted."""

    sentence: str
    response: str


@dataclass(frozen=True, kw_only=True)
class SubscriberLine:
    """A subscriber and the delivery of its event."""

    name: str
    sentence: str
    attempts: list[AttemptLine]


@dataclass(frozen=True, kw_only=True)
class DeliveryTrail:
    steps: list[TrailStep]
    reasons: list[str]
    attempts: list[AttemptLine]
    outcome: list[str]
    subscribers: list[SubscriberLine]


def build_trail(message: Message, *, now: datetime) -> DeliveryTrail:
    """Build the delivery trail of an inbound or outbound message."""
    deliveries = list(Delivery.objects.filter(message=message).select_related("api_channel").order_by("pk"))
    attempts = _attempt_lines([delivery.pk for delivery in deliveries], message.api_channel_id)
    own = [delivery for delivery in deliveries if delivery.kind == Delivery.Kind.MESSAGE]
    events = [delivery for delivery in deliveries if delivery.kind == Delivery.Kind.EVENT]
    subscribers = [_subscriber_line(event, attempts[event.pk], now=now) for event in events]
    if message.direction == Message.Direction.INBOUND:
        window = window_trail.find_window_effect(message)
        return DeliveryTrail(
            steps=list(window_trail.window_steps(window, events)),
            reasons=list(window_trail.window_reasons(message, window, now=now)),
            attempts=[],
            outcome=[],
            subscribers=subscribers,
        )
    delivery = own[-1] if own else None
    return DeliveryTrail(
        steps=list(_trail_steps(message, delivery)),
        reasons=list(_reasons(message, now=now)),
        attempts=attempts[delivery.pk] if delivery else [],
        outcome=list(_outcome_sentences(message, delivery, now=now)),
        subscribers=subscribers,
    )


def _attempt_lines(pks: list[int], api_channel_id: int | None) -> dict[int, list[AttemptLine]]:
    """Return the attempts and the operators' decisions in order of time, by delivery ID."""
    attempts: dict[int, list[Attempt]] = {pk: [] for pk in pks}
    decisions: dict[int, list[DeliveryDecision]] = {pk: [] for pk in pks}
    for attempt in Attempt.objects.filter(delivery__in=pks).order_by("pk"):
        attempts[attempt.delivery_id].append(attempt)
    for decision in DeliveryDecision.objects.filter(delivery__in=pks).select_related("by").order_by("pk"):
        decisions[decision.delivery_id].append(decision)
    return {pk: list(_merge_decisions(attempts[pk], decisions[pk], api_channel_id)) for pk in pks}


def _merge_decisions(
    attempts: list[Attempt], decisions: list[DeliveryDecision], api_channel_id: int | None
) -> Iterator[AttemptLine]:
    waiting = list(decisions)
    for attempt in attempts:
        while waiting and waiting[0].attempts < attempt.number:
            yield _describe_decision(waiting.pop(0))
        yield _attempt_line(attempt, api_channel_id)
    yield from map(_describe_decision, waiting)


def _describe_decision(decision: DeliveryDecision) -> AttemptLine:
    words = {
        "decision": decision.get_action_display(),
        "at": timezone.localtime(decision.at).strftime("%H:%M:%S"),
        "by": presentation.person_name(decision.by),
    }
    return AttemptLine(
        sentence=(_("%(at)s: %(decision)s by %(by)s.") if decision.by else _("%(at)s: %(decision)s.")) % words,
        response="",
    )


def _subscriber_line(event: Delivery, attempts: list[AttemptLine], *, now: datetime) -> SubscriberLine:
    """Describe the delivery of the event to one subscriber."""
    if event.state == Delivery.State.DELIVERED and event.finished_at:
        sentence = _("delivered, %(at)s") % {"at": presentation.format_exact_moment(event.finished_at, now=now)}
    elif event.state in Delivery.UNFINISHED and event.attempts:
        left = max(event.next_attempt_at - now, timedelta(0))
        sentence = _("not delivered yet; next attempt in %(span)s") % {"span": presentation.format_duration(left)}
    elif event.state in Delivery.UNFINISHED:
        sentence = pgettext("subscriber", "waiting in the queue")
    else:
        sentence = str(event.get_state_display())
    if event.reason and event.state != Delivery.State.DELIVERED:
        sentence += f": {outcomes.render_sentence(event.reason)}"
    return SubscriberLine(name=event.api_channel.name, sentence=sentence, attempts=attempts)


def _trail_steps(message: Message, delivery: Delivery | None) -> Iterator[TrailStep]:
    yield TrailStep(name=pgettext("step", "accepted"), state=PASSED)
    yield TrailStep(name=pgettext("step", "window"), state=PASSED)
    is_template = message.kind == Message.Kind.TEMPLATE
    yield TrailStep(
        name=pgettext("step", "as a template") if is_template else pgettext("step", "as text"), state=PASSED
    )
    attempt_state, arrival_state = _last_steps(message)
    number = max(delivery.attempts, 1) if delivery else 1
    yield TrailStep(name=pgettext("step", "attempt %(number)d") % {"number": number}, state=attempt_state)
    is_read = message.status == Status.READ
    yield TrailStep(name=pgettext("step", "read") if is_read else pgettext("step", "delivered"), state=arrival_state)


def _last_steps(message: Message) -> tuple[str, str]:
    """Return the states of the attempt and arrival steps."""
    if message.status in (Status.DELIVERED, Status.READ):
        return PASSED, PASSED
    if message.status == Status.SENT:
        return PASSED, CURRENT
    if message.status == Status.FAILED:
        # The provider accepted but could not deliver the message, or sending failed.
        return (PASSED, STOPPED) if message.reason == "provider_failed" else (STOPPED, AHEAD)
    return CURRENT, AHEAD


def _reasons(message: Message, *, now: datetime) -> Iterator[str]:
    """Explain the route: author, template and the window at the time of submission."""
    author = presentation.person_name(message.author)
    submission = {"at": presentation.format_exact_moment(message.created_at, now=now), "author": author}
    yield (_("%(author)s, %(at)s.") if author else _("Submitted through the API, %(at)s.")) % submission
    yield from _template_reasons(message)
    window = message.details.get("window")
    expires_at = parse_datetime(str(message.details.get("expires_at") or ""))
    is_template = message.kind == Message.Kind.TEMPLATE
    if window == "unrestricted":
        yield _("This provider has no 24-hour window, so the message is sent as plain text.")
    elif window == "open" and expires_at:
        words = {"until": presentation.format_exact_moment(expires_at, now=now)}
        if is_template:
            yield _("The window was open until %(until)s; the message is sent as a template.") % words
        else:
            yield _("The window was open until %(until)s, so the message is sent as plain text.") % words
    elif is_template:
        yield _("The window was closed, so the message is sent as an approved template.")


def _template_reasons(message: Message) -> Iterator[str]:
    """Name the template, how it was chosen, and its values."""
    template = message.template
    if not template:
        return
    template_words = {"name": template.get("name", ""), "language": template.get("language", "")}
    if message.details.get("how") == reply_submission.RECOGNIZED:
        yield _("The text was recognized as the template “%(name)s” (%(language)s).") % template_words
    elif message.details.get("how") == reply_submission.CHOSEN:
        yield _("The template “%(name)s” (%(language)s) was chosen.") % template_words
    parameters = template.get("parameters") or []
    pairs = parameters.items() if isinstance(parameters, dict) else enumerate(parameters, start=1)
    values = ", ".join(f"{key}: {value}" for key, value in pairs)
    if values:
        yield _("Values: %(values)s.") % {"values": values}


def _attempt_line(attempt: Attempt, api_channel_id: int | None) -> AttemptLine:
    words: dict[str, Any] = {
        "number": attempt.number,
        "at": timezone.localtime(attempt.started_at).strftime("%H:%M:%S"),
        "took": presentation.format_seconds(attempt.duration_ms),
        "status": attempt.http_status,
    }
    if attempt.verdict == ACCEPTED:
        result = pgettext("attempt", "sent to the provider")
    elif attempt.http_status:
        result = _("response %(status)s in %(took)s") % words
    elif attempt.verdict == UNKNOWN:
        result = _("no response in %(took)s") % words
    else:
        result = _("not sent to the provider")
    words["result"] = result
    sentence = _("Attempt %(number)d, %(at)s: %(result)s.") % words
    if attempt.reason:
        sentence += " " + outcomes.render_sentence(attempt.reason)
    return AttemptLine(
        sentence=sentence, response=phone_visibility.visible_text(attempt.answer.strip(), api_channel_id)
    )


def _outcome_sentences(message: Message, delivery: Delivery | None, *, now: datetime) -> Iterator[str]:
    is_waiting = message.status in (Status.PENDING, Status.SENDING)
    if is_waiting and message.api_channel.archived_at:
        yield _("The channel is archived. The message is sent only if an admin takes the channel back and resumes it.")
    elif is_waiting and message.api_channel.state == ChannelState.PAUSED:
        yield _("The channel is paused. The message is sent when an admin resumes it.")
    elif delivery is not None and delivery.state == Delivery.State.PENDING and delivery.attempts:
        seconds = (delivery.next_attempt_at - now).total_seconds()
        if seconds > 0:
            yield _("Next attempt in %(span)s.") % {
                "span": presentation.format_duration(delivery.next_attempt_at - now)
            }
        else:
            yield _("The next attempt is due now.")
    elif is_waiting:
        yield _("Waiting in the queue: messages of one chat are sent one after another.")
    if message.status in (Status.FAILED, Status.UNKNOWN) and message.reason:
        yield message.sentence
    elif message.status == Status.SENT:
        yield _("The provider accepted the message but has not confirmed its delivery yet.")
    elif message.status in (Status.DELIVERED, Status.READ) and message.status_at:
        sentence = _("Read, %(at)s.") if message.status == Status.READ else _("Delivered, %(at)s.")
        yield sentence % {"at": presentation.format_exact_moment(message.status_at, now=now)}
