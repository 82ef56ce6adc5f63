"""Final states of deliveries: given up, unknown, canceled. The operator sees each in the chat.

Used by the engine before and after a call, and by everything that cancels what has not been sent yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from django.db import transaction
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import failure_effects
from bridge.conversations import consents, reactions
from bridge.metrics import recording
from bridge.models import Delivery, Draft, Message
from bridge.notices import create_notice
from channels_setup.failing_items import FailingItems

CANCELING = FailingItems("cancel after the window closed")
NO_DETAILS: Mapping[str, str] = {}


def give_up_delivery(
    delivery: Delivery, token: uuid.UUID, *, reason: str, details: Mapping[str, str] = NO_DETAILS
) -> None:
    """Give up a delivery and notify the operator in the chat. The row is kept and can be resent."""
    changed = Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.DEAD, reason=reason, finished_at=timezone.now(), lease_token=None
    )
    if changed and delivery.kind == Delivery.Kind.MESSAGE and delivery.message is not None:
        _fail_message(delivery.message, reason, details)
        failure_effects.apply_failure(delivery.api_channel, reason, template=delivery.message.template)
        consents.apply_failures([(delivery.message, reason, None)])
    elif changed and delivery.kind == Delivery.Kind.REACTION:
        reactions.fail_reaction(delivery, reason, error=details)


@transaction.atomic
def mark_delivery_unknown(delivery: Delivery, token: uuid.UUID) -> None:
    """Mark the outcome as unknown, unless a status has already confirmed it: one may arrive during the call."""
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.UNKNOWN, reason="outcome_unknown", finished_at=timezone.now(), lease_token=None
    )
    if delivery.kind == Delivery.Kind.REACTION:
        reactions.mark_reaction_unknown(delivery)
    elif delivery.message_id:
        message = Message.objects.select_for_update(no_key=True).get(pk=delivery.message_id)
        if Message.RANK[message.status] > Message.RANK[Message.Status.UNKNOWN]:
            unknown = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.UNKNOWN)
            unknown.update(state=Delivery.State.DELIVERED, reason="")
        elif Message.RANK[message.status] < Message.RANK[Message.Status.UNKNOWN]:
            message.status, message.status_at, message.reason = (
                Message.Status.UNKNOWN,
                timezone.now(),
                "outcome_unknown",
            )
            message.save(update_fields=["status", "status_at", "reason"])
            recording.count_statuses([message])
            create_notice(message.conversation, "may_have_been_sent", message_id=message.pk)


@transaction.atomic
def cancel_delivery(delivery_id: int, *, reason: str, token: uuid.UUID | None = None) -> bool:
    """Cancel a delivery that may no longer be sent, and make the operator's text a draft again.

    Return whether it was canceled. ``token``: cancel it only under this lease; None: only if it is pending.
    """
    rows = Delivery.objects.filter(pk=delivery_id)
    rows = rows.filter(lease_token=token) if token else rows.filter(state=Delivery.State.PENDING)
    if not rows.update(state=Delivery.State.CANCELLED, reason=reason, finished_at=timezone.now(), lease_token=None):
        return False
    delivery = Delivery.objects.select_related("message__conversation").get(pk=delivery_id)
    message = delivery.message
    if delivery.kind == Delivery.Kind.MESSAGE and message is not None:
        _fail_message(message, reason)
        if (
            message.author_id
            and not Draft.objects.filter(conversation=message.conversation_id, user=message.author_id).exists()
        ):
            Draft.objects.create(
                conversation_id=message.conversation_id,
                user_id=message.author_id,
                text=message.text,
                reason=reason,
            )
    elif delivery.kind == Delivery.Kind.REACTION:
        reactions.fail_reaction(delivery, reason)
    return True


def _fail_message(message: Message, reason: str, details: Mapping[str, str] = NO_DETAILS) -> None:
    failed = (
        Message.objects.filter(pk=message.pk)
        .exclude(status__in=[Message.Status.DELIVERED, Message.Status.READ, Message.Status.FAILED])
        .update(
            status=Message.Status.FAILED,
            status_at=timezone.now(),
            reason=reason,
            details={**message.details, **details},
        )
    )
    if failed:
        recording.count_status(message.api_channel_id, Message.Status.FAILED)
        name = (message.template or {}).get("name", "")
        values = {**details, "name": name, "message_id": message.pk}
        create_notice(message.conversation, "not_delivered", why_code=reason, **values)


def cancel_after_windows_closed(conversation_ids: Iterable[int]) -> None:
    """Cancel pending free text in conversations whose window has closed, and notify the operators."""
    pending = Delivery.objects.filter(
        conversation__in=list(conversation_ids), free_text=True, state=Delivery.State.PENDING
    )
    for pk in pending.order_by("pk").values_list("pk", flat=True):
        with CANCELING.isolate(pk), transaction.atomic():  # the window is checked again before sending
            cancel_delivery(pk, reason="window_closed_before_sending")


def get_window_key(delivery: Delivery) -> service_window.WindowKey:
    """Return the key of the service window that applies: merged contacts of a conversation have one each."""
    assert delivery.conversation_id is not None  # alert messages have no window
    return delivery.conversation_id, delivery.message.merged_contact_id if delivery.message else None
