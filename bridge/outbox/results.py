"""Saving of attempt results, and planning of the next attempt.

An accepted message becomes sent. A failed one is retried by its schedule, or given up with a notice to the operator. An
unknown outcome is retried or shown to the operator, by the channel's policy. A destination that rejects our credentials
is paused; its messages are kept.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from bridge import outcomes, service_window
from bridge.channel_health import alerts, circuit_breaker, failure_effects, rate_limits
from bridge.conversations import contacts, message_statuses
from bridge.files import provider_uploads
from bridge.files.provider_uploads import CachedUpload
from bridge.models import Attempt, Delivery, Draft, Message
from bridge.notices import create_notice
from bridge.outbox import retry_schedule
from bridge.row_inserts import insert_rows
from channels_setup.failing_items import FailingItems
from channels_setup.models import UnknownPolicy
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, UNKNOWN, CallRate, Outcome

logger = logging.getLogger(__name__)
CANCELING = FailingItems("cancel after the window closed")

# Seconds between attempts to save a result; in total well within the lease.
DB_RETRY_DELAYS = (0.1, 0.5, 2.0, 5.0)

NO_DETAILS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A claimed delivery. `interrupted`: a worker died during an earlier attempt, so its outcome is unknown."""

    delivery: Delivery
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """The result of one attempt."""

    claimed: ClaimedDelivery
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    http_status: int | None = None
    answer: str = ""
    upload: CachedUpload | None = None  # the file that this attempt uploaded to the provider
    contact_rates: tuple[CallRate, ...] = ()  # this contact's limits, if the outcome reports them as exhausted


def save_results(attempts: Sequence[AttemptResult], token: uuid.UUID) -> None:
    """Save results, retrying transient database errors: a lost result would leave the message's outcome unknown.

    If the database rejects a batch, each result is saved alone; if it rejects one (for example, a duplicate message
    ID), that result is saved without the provider's texts and IDs.
    """
    try:
        retry_db_errors(lambda: record_attempts(attempts, token))
    except (OperationalError, InterfaceError):
        raise  # the delivery is claimed again when its lease expires
    except Exception:
        logger.warning("results not saved as a batch, saving each alone", extra={"count": len(attempts)})
        for item in attempts:
            _save_one_result(item, token)


def _save_one_result(item: AttemptResult, token: uuid.UUID) -> None:
    """Save one result; if the database rejects it, save it without the provider's texts and IDs."""
    bare = replace(item, answer="", upload=None, outcome=replace(item.outcome, external_id="", title="", details=""))
    for result in (item, bare):
        try:
            return retry_db_errors(partial(record_attempts, [result], token))
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("result not saved", extra={"delivery": item.claimed.delivery.pk})


def retry_db_errors(write: Callable[[], None]) -> None:
    """Call `write`, retrying when the database is unreachable or chose this transaction as a deadlock victim."""
    for seconds in DB_RETRY_DELAYS:
        try:
            return write()
        except (OperationalError, InterfaceError) as problem:
            logger.warning("results not saved yet", extra={"error": type(problem).__name__})
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            time.sleep(seconds)
    write()


@transaction.atomic
def record_attempts(attempts: Sequence[AttemptResult], token: uuid.UUID) -> None:
    """Record attempts and their effects, for deliveries whose lease is still ours."""
    attempts = sorted(attempts, key=lambda item: item.claimed.delivery.api_channel_id)  # lock order of breakers
    accepted = [item for item in attempts if item.outcome.verdict == ACCEPTED]
    not_accepted = [item for item in attempts if item.outcome.verdict != ACCEPTED]
    delivered = _mark_delivered([item.claimed.delivery.pk for item in accepted], token) if accepted else set()
    ours = _lock_leased([item.claimed.delivery.pk for item in not_accepted], token) if not_accepted else set()
    lost_leases = [item.claimed.delivery.pk for item in attempts if item.claimed.delivery.pk not in delivered | ours]
    erased = find_erased_meanwhile(lost_leases) if lost_leases else set()
    insert_rows([_build_attempt(item, has_answer=item.claimed.delivery.pk not in erased) for item in attempts])
    for item in attempts:
        if item.upload is not None:
            provider_uploads.cache_upload(item.claimed.delivery.api_channel_id, item.upload)
    _settle_accepted([item for item in accepted if item.claimed.delivery.pk in delivered])
    if not_accepted:  # lock all breakers before a channel is paused
        circuit_breaker.lock_breakers(item.claimed.delivery.api_channel_id for item in attempts)
    for item in not_accepted:
        if item.claimed.delivery.pk in ours:
            _settle_failed(item, token)
    opened_breakers = circuit_breaker.record_outcomes(
        (item.claimed.delivery.api_channel_id, _is_destination_ok(item.outcome)) for item in attempts
    )
    for item in reversed(attempts):
        if item.claimed.delivery.api_channel_id in opened_breakers and not _is_destination_ok(item.outcome):
            item.claimed.delivery.api_channel.record_failure(item.outcome.reason)
            opened_breakers.remove(item.claimed.delivery.api_channel_id)


def _mark_delivered(ids: Sequence[int], token: uuid.UUID) -> set[int]:
    """Mark accepted deliveries that we still lease as delivered. Return their IDs."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bridge_delivery d
            SET state = 'delivered', finished_at = clock_timestamp(), reason = '', lease_token = NULL
            FROM (SELECT id FROM bridge_delivery WHERE id = ANY(%s) AND lease_token = %s AND state = 'sending'
                  ORDER BY id FOR NO KEY UPDATE) mine
            WHERE d.id = mine.id
            RETURNING d.id
            """,
            [list(ids), token],
        )
        return {row[0] for row in cursor.fetchall()}


def _lock_leased(ids: Sequence[int], token: uuid.UUID) -> set[int]:
    """Lock the deliveries that we still lease. Return their IDs."""
    mine = Delivery.objects.filter(pk__in=ids, lease_token=token, state=Delivery.State.SENDING)
    return set(mine.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))


def find_erased_meanwhile(ids: Sequence[int]) -> set[int]:
    """Return deliveries of people who were erased during the call: the response may name them."""
    return set(Delivery.objects.filter(pk__in=ids, reason="person_erased").values_list("pk", flat=True))


def _is_destination_ok(outcome: Outcome) -> bool:
    """Return whether the destination works. A rejected message does not mean that the destination is down."""
    if outcome.code:  # the provider's API answered with an error of its own
        return not outcomes.get_effects(outcome.reason).destination_down
    return outcome.verdict in (ACCEPTED, PERMANENT) or outcome.reason in ("rate_limited", "internal_error")


def _build_attempt(item: AttemptResult, *, has_answer: bool = True) -> Attempt:
    return Attempt(
        delivery=item.claimed.delivery,
        number=item.claimed.delivery.attempts,
        started_at=item.started_at,
        duration_ms=item.duration_ms,
        http_status=item.http_status,
        verdict=item.outcome.verdict,
        reason=item.outcome.reason,
        answer=item.answer if has_answer else "",
    )


def _settle_accepted(items: Sequence[AttemptResult]) -> None:
    """Mark accepted messages as sent and reset the failures of their channels."""
    if not items:
        return
    now = timezone.now()
    for delivery in (item.claimed.delivery for item in items):
        if delivery.attempts > alerts.STUCK_AFTER_FAILURES:
            alerts.settle_alert(alerts.Kind.STUCK, api_channel_id=delivery.api_channel_id, delivery_id=delivery.pk)
    by_message = {
        item.claimed.delivery.message_id: item
        for item in items
        if item.claimed.delivery.kind == Delivery.Kind.MESSAGE and item.claimed.delivery.message_id
    }
    messages = (
        list(Message.objects.select_for_update(no_key=True).filter(pk__in=by_message).order_by("pk"))
        if by_message
        else []
    )
    for message in messages:
        outcome = by_message[message.pk].outcome
        message.external_id = message.external_id or outcome.external_id
        if Message.RANK[outcome.status] > Message.RANK[message.status]:
            message.status, message.status_at, message.reason = outcome.status, now, ""
    if messages:
        Message.objects.bulk_update(messages, ["status", "status_at", "external_id", "reason"])
        # Only the conversation's own contact: the IDs of a merged contact are known from its own messages.
        own = [message for message in messages if message.merged_contact_id is None]
        _learn_contact_ids({message.conversation_id: by_message[message.pk] for message in own})
    channels = {item.claimed.delivery.api_channel_id: item.claimed.delivery.api_channel for item in items}
    for channel in channels.values():
        mine = [message for message in messages if message.api_channel_id == channel.pk]
        if mine and any(message.external_id for message in mine):
            message_statuses.apply_stray_statuses(channel, mine)
        if channel.last_error or (mine and channel.first_outbound_at is None):
            channel.record_success(with_answer=bool(mine))


def _learn_contact_ids(by_conversation: Mapping[int, AttemptResult]) -> None:
    """Store the contact IDs that the provider's responses report, after the commit: contacts are not locked here."""
    changed = {}
    for pk, item in by_conversation.items():
        contact, ours = item.outcome.contact, item.claimed.delivery.payload.get("contact") or {}
        if any(value and value != ours.get(name) for name, value in vars(contact).items()):
            changed[pk] = contact
    if changed:
        transaction.on_commit(lambda: contacts.learn_recipient_ids(changed), robust=True)


def _settle_failed(item: AttemptResult, token: uuid.UUID) -> None:
    """Retry, pause, give up or mark as unknown, by the verdict."""
    delivery, outcome = item.claimed.delivery, item.outcome
    if outcome.verdict == UNKNOWN and not can_retry_unknown(delivery):
        mark_delivery_unknown(delivery, token)
        return
    if outcome.verdict == PAUSE:
        _pause_channel(delivery, token, reason=outcome.reason)
        return
    seconds = retry_schedule.compute_retry_delay(delivery, outcome, http_status=item.http_status)
    if seconds is not None and outcome.contact_backoff_base is not None:
        seconds = _compute_backoff(delivery, outcome)
        rate_limits.exhaust_limits(delivery.api_channel_id, item.contact_rates, seconds=seconds)
    if outcome.verdict == PERMANENT or seconds is None:
        reason = outcome.reason if outcome.verdict == PERMANENT else "retries_exhausted"
        give_up_delivery(delivery, token, reason=reason, details=_describe_provider_error(outcome))
        provider_uploads.forget_rejected_upload(delivery, outcome.reason)
        delivery.api_channel.record_failure(outcome.reason)
        return
    if outcome.whole_channel:
        circuit_breaker.start_backoff(delivery.api_channel_id, seconds=seconds)
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.PENDING,
        next_attempt_at=service_window.database_now() + timedelta(seconds=seconds),
        reason=outcome.reason,
        lease_token=None,
    )
    if delivery.attempts >= 2:
        delivery.api_channel.record_failure(outcome.reason)
    if delivery.attempts - delivery.attempts_before == alerts.STUCK_AFTER_FAILURES:
        alerts.raise_alert(
            alerts.Kind.STUCK,
            api_channel_id=delivery.api_channel_id,
            delivery_id=delivery.pk,
            why_code=outcome.reason,
        )


def _pause_channel(delivery: Delivery, token: uuid.UUID, *, reason: str) -> None:
    """Keep the delivery without using up an attempt, and pause the channel until an admin resumes it."""
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.PENDING,
        attempts=delivery.attempts - 1,
        next_attempt_at=service_window.database_now(),
        reason=reason,
        lease_token=None,
    )
    failure_effects.pause_channel(delivery.api_channel, reason)


def _compute_backoff(delivery: Delivery, outcome: Outcome) -> float:
    """Return the backoff in seconds: 1, 4, 16, 64 … for base 4. The current attempt is already stored."""
    earlier = Attempt.objects.filter(delivery=delivery, reason=outcome.reason, number__gt=delivery.attempts_before)
    repeats = max(earlier.count() - 1, 0)
    seconds = max((outcome.contact_backoff_base or 1.0) ** min(repeats, 20), outcome.retry_after or 0.0)
    return float(min(seconds, retry_schedule.MAX_RETRY_AFTER))


def _describe_provider_error(outcome: Outcome) -> dict[str, str]:
    """Return the provider's error code and texts, to show next to our sentence."""
    error = {"code": outcome.code, "title": outcome.title, "details": outcome.details}
    return {name: value for name, value in error.items() if value}


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


@transaction.atomic
def mark_delivery_unknown(delivery: Delivery, token: uuid.UUID) -> None:
    """Mark the outcome as unknown, unless a status has already confirmed it: one may arrive during the call."""
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.UNKNOWN, reason="outcome_unknown", finished_at=timezone.now(), lease_token=None
    )
    if delivery.message_id:
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
    return delivery.conversation_id, delivery.message.merged_contact_id if delivery.message else None


def can_retry_unknown(delivery: Delivery) -> bool:
    """Return whether an attempt with an unknown outcome may be repeated.

    Events may always be repeated: receivers deduplicate them by key.
    """
    if delivery.kind == Delivery.Kind.EVENT:
        return True
    channel = delivery.api_channel
    return channel.on_unknown == UnknownPolicy.RESEND and channel.provider.retries_are_idempotent
