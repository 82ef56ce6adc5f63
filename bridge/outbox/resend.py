"""Resending and discarding of dead letters, with a preview.

A resent delivery keeps its key and content, and the window and the template are checked as usual. Every decision is
stored as a `DeliveryDecision`, which separates the attempts before and after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from bridge import outcomes, service_window, wakeups
from bridge.conversations import reactions
from bridge.models import BulkAction, CircuitBreaker, DeadLetter, Delivery, DeliveryDecision, Message
from bridge.relay import template_decisions
from channels_setup.models import ChannelState

from . import settling

# There is nothing left to send, or a newer reaction took its place.
CONTENT_GONE = ("person_erased", "content_deleted", "reaction_replaced")
UNRESOLVED_STATES = (Delivery.State.DEAD, Delivery.State.UNKNOWN)
DELAYED_CODES = ("channel_paused", "breaker_open", "destination_backoff")  # it would be queued and wait


@dataclass(frozen=True, kw_only=True)
class ResendPreview:
    """Result of resending a delivery now. `code`: an outcome code, or empty if it would be sent at once."""

    delivery: Delivery
    code: str = ""
    name: str = ""  # the template's name, if the sentence needs it

    @property
    def will_send(self) -> bool:
        """Whether the delivery would be queued."""
        return self.code in ("", *DELAYED_CODES)

    @property
    def sentence(self) -> str:
        return outcomes.render_sentence(self.code or "would_be_sent", {"name": self.name})


def preview_resend(deliveries: Sequence[Delivery]) -> list[ResendPreview]:
    """Preview resending with the checks that the dispatcher makes. Runs four queries for any number of deliveries.

    The deliveries must have `message` and `api_channel` selected.
    """
    texts = {settling.get_window_key(delivery) for delivery in deliveries if delivery.free_text}
    now = service_window.database_now()
    closed = service_window.find_closed_windows(texts, now=now) if texts else set()
    templates = {delivery.pk: template for delivery in deliveries if (template := delivery.template)}
    unsendable = template_decisions.find_unsendable_templates(templates.values())
    channel_ids = {delivery.api_channel_id for delivery in deliveries}
    breakers = {row.api_channel_id: row for row in CircuitBreaker.objects.filter(api_channel__in=channel_ids)}
    previews = []
    for delivery in deliveries:
        template = templates.get(delivery.pk) or {}
        destination = breakers.get(delivery.api_channel_id)
        code = ""
        if delivery.reason in CONTENT_GONE:
            code = delivery.reason
        elif delivery.free_text and settling.get_window_key(delivery) in closed:
            code = "window_closed_since"
        elif template.get("id") in unsendable:
            code = "template_not_sendable"
        elif _may_have_been_sent(delivery):
            code = "possible_duplicate"
        elif delivery.api_channel.state == ChannelState.PAUSED:
            code = "channel_paused"
        elif destination and destination.is_open:
            code = "breaker_open"
        elif destination and destination.backoff_until and destination.backoff_until > now:
            code = "destination_backoff"
        previews.append(ResendPreview(delivery=delivery, code=code, name=template.get("name", "")))
    return previews


def _may_have_been_sent(delivery: Delivery) -> bool:
    """Return whether the message may have been sent, including messages whose delivery was discarded since."""
    if delivery.state == Delivery.State.UNKNOWN:
        return True
    message = delivery.message if delivery.kind == Delivery.Kind.MESSAGE else None
    return message is not None and message.status == Message.Status.UNKNOWN


# --- decisions -------------------------------------------------------------------------------------------

DISCARDED, LEFT = "discarded", "left_as_is"


@transaction.atomic
def resend_deliveries(*pks: int, by: Any = None, bulk_action: BulkAction | None = None) -> int:
    """Queue given-up, canceled or unknown deliveries again. Their retry schedule starts over. Return how many."""
    rows = [row for row in _lock_deliveries(pks, states=DeadLetter.STATES) if row.reason not in CONTENT_GONE]
    if not rows:
        return 0
    _record_decisions(rows, DeliveryDecision.Action.RESEND, by=by, bulk_action=bulk_action)
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=Delivery.State.PENDING,
        attempts_before=F("attempts"),
        priority=Delivery.Priority.BULK if bulk_action else Delivery.Priority.ANSWER,
        reason="",
        next_attempt_at=service_window.database_now(),
        finished_at=None,
    )
    _get_unsent_messages(rows).update(status=Message.Status.PENDING, reason="")
    for row in rows:
        if row.kind == Delivery.Kind.REACTION:
            reactions.mark_reaction_pending(row)
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    wakeups.notify_after_commit(wakeups.EVENTS)
    return len(rows)


@transaction.atomic
def discard_deliveries(*pks: int, by: Any = None, bulk_action: BulkAction | None = None) -> int:
    """Discard dead or unknown deliveries. The operator sees it under the message. Return how many."""
    rows = _lock_deliveries(pks, states=UNRESOLVED_STATES)
    _cancel_deliveries(rows, DeliveryDecision.Action.DISCARD, reason=DISCARDED, by=by, bulk_action=bulk_action)
    _get_unsent_messages(rows).update(reason=DISCARDED)
    return len(rows)


@transaction.atomic
def accept_unknown_deliveries(*pks: int, by: Any) -> int:
    """Accept unknown outcomes as they are, so that operators are not asked again. Return how many."""
    rows = _lock_deliveries(pks, states=(Delivery.State.UNKNOWN,))
    _cancel_deliveries(rows, DeliveryDecision.Action.LEAVE, reason=LEFT, by=by, bulk_action=None)
    _get_unsent_messages(rows).update(reason=LEFT)
    return len(rows)


def _lock_deliveries(pks: Sequence[int], *, states: Sequence[str]) -> list[Delivery]:
    rows = Delivery.objects.select_for_update(no_key=True).filter(pk__in=pks, state__in=states)
    return list(rows.order_by("pk").defer("payload"))


def _cancel_deliveries(
    rows: Sequence[Delivery], action: str, *, reason: str, by: Any, bulk_action: BulkAction | None
) -> None:
    _record_decisions(rows, action, by=by, bulk_action=bulk_action)
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=Delivery.State.CANCELLED, reason=reason, finished_at=timezone.now(), lease_token=None
    )


def _record_decisions(rows: Sequence[Delivery], action: str, *, by: Any, bulk_action: BulkAction | None) -> None:
    DeliveryDecision.objects.bulk_create(
        DeliveryDecision(
            delivery=row,
            action=action,
            by=by,
            previous_state=row.state,
            previous_reason=row.reason,
            attempts=row.attempts,
            bulk_action=bulk_action,
        )
        for row in rows
    )


def _get_unsent_messages(rows: Sequence[Delivery]) -> Any:
    """Return the failed or unknown messages that these deliveries carry."""
    message_ids = [row.message_id for row in rows if row.kind == Delivery.Kind.MESSAGE and row.message_id]
    return Message.objects.filter(pk__in=message_ids, status__in=[Message.Status.FAILED, Message.Status.UNKNOWN])
