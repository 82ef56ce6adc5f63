"""Messages to contacts, through the API channel of their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from django.db import transaction
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import rate_limits
from bridge.channel_health.rate_limits import RateRequest
from bridge.conversations import contacts, message_statuses
from bridge.files import provider_uploads
from bridge.files.provider_uploads import CachedUpload
from bridge.metrics import recording
from bridge.models import Attempt, Delivery, Message
from bridge.outbox import recipient_addresses, settling
from bridge.outbox.attempts import AttemptResult, CallResult, ClaimedDelivery
from bridge.outbox.policies import MAX_RETRY_AFTER, Lane
from bridge.relay import template_decisions
from bridge.row_inserts import update_rows
from channels_setup import http_client
from channels_setup.models import UnknownPolicy
from channels_setup.providers.base import Account, DeliveryRequest, Outcome

from .api_channels import ApiChannelPolicy, build_request, call_and_judge


class MessagePolicy(ApiChannelPolicy):
    """Messages to contacts. A message is given up after its last attempt, or when its window closes."""

    kinds = (Delivery.Kind.MESSAGE,)
    lane = Lane.ANSWERS
    leaves_free = 0
    retry_delays: ClassVar[tuple[int, ...]] = (5, 15, 60, 180, 600, 1_800, 3_600, 7_200, 14_400)

    # --- before the calls ---

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        """Check the window, the contact's address and opt-out, the template, and interrupted attempts."""
        claimed = super().admit(claimed, token)
        messages = Message.objects.in_bulk({item.delivery.message_id for item in claimed if item.delivery.message_id})
        for item in claimed:
            if item.delivery.message_id in messages:
                item.delivery.message = messages[item.delivery.message_id]
        texts = {settling.get_window_key(item.delivery) for item in claimed if item.delivery.free_text}
        closed = service_window.find_closed_windows(texts, now=service_window.database_now()) if texts else set()
        templates = {item.delivery.pk: template for item in claimed if (template := item.delivery.template)}
        unsendable = template_decisions.find_unsendable_templates(templates.values())
        chats = {item.delivery.pk: chat for item in claimed if (chat := item.delivery.conversation_id) is not None}
        opted_out = template_decisions.find_opt_out_refusals(templates, chats)
        moved_ids = recipient_addresses.refresh_addresses([item.delivery for item in claimed])
        admitted = []
        for item in claimed:
            delivery = item.delivery
            obstacle = ""
            if delivery.free_text and settling.get_window_key(delivery) in closed:
                obstacle = "window_closed_before_sending"
            elif delivery.pk in moved_ids:
                obstacle = "contact_moved_before_sending"
            elif templates.get(delivery.pk, {}).get("id") in unsendable:
                obstacle = "template_not_sendable"
            elif delivery.pk in opted_out:
                obstacle = opted_out[delivery.pk]
            if item.interrupted and (obstacle or not self.can_repeat_unknown(delivery)):
                settling.mark_delivery_unknown(delivery, token)  # it may have been sent, so it cannot be canceled
            elif obstacle:
                settling.cancel_delivery(delivery.pk, token=token, reason=obstacle)
            else:
                admitted.append(item)
        return self.give_up_exhausted(admitted, token)

    def build_rate_request(self, item: ClaimedDelivery) -> RateRequest:
        delivery = item.delivery
        rates = delivery.api_channel.provider.call_rates(build_request(delivery), self.get_account(delivery))
        return RateRequest(delivery=delivery, api_channel_id=delivery.api_channel_id, rates=rates)

    def start(self, admitted: Sequence[ClaimedDelivery]) -> list[http_client.Exchange[AttemptResult]]:
        if not admitted:
            return []
        accounts = [self.get_account(item.delivery) for item in admitted]
        file_ids = provider_uploads.find_cached_uploads(item.delivery for item in admitted)
        message_ids = [pk for item in admitted if (pk := item.delivery.message_id)]
        Message.objects.filter(pk__in=message_ids, status=Message.Status.PENDING).update(status=Message.Status.SENDING)
        return [
            self.attempt(
                item,
                self.call(item, account, file_id=file_ids.get(item.delivery.pk, "")),
                secrets=account.all_secrets(),
            )
            for item, account in zip(admitted, accounts, strict=True)
        ]

    # --- the calls ---

    def call(self, item: ClaimedDelivery, account: Account, *, file_id: str) -> http_client.Exchange[CallResult]:
        """Upload the message's file if the provider accepts uploads, and send the message."""
        delivery, provider = item.delivery, item.delivery.api_channel.provider
        failure, request, upload = yield from _upload_file(delivery, build_request(delivery, file_id=file_id), account)
        if failure is not None:
            return CallResult(outcome=failure)
        try:
            http_request = provider.build_message_request(request, account)
            if isinstance(http_request, Outcome):
                result = CallResult(outcome=http_request)
            else:
                result = yield from call_and_judge(http_request, provider.judge_message_response, delivery=delivery)
        except Exception as problem:
            if upload is None:
                raise
            result = self.describe_failure(item, problem)  # the next attempt uses the uploaded file
        rates = provider.call_rates(request, account) if result.outcome.contact_backoff_base is not None else ()
        contact_rates = tuple(rate for rate in rates if not rate.whole_channel)
        return replace(result, upload=upload, contact_rates=contact_rates)

    # --- after the calls ---

    def can_repeat_unknown(self, delivery: Delivery) -> bool:
        channel = delivery.api_channel
        return channel.on_unknown == UnknownPolicy.RESEND and channel.provider.retries_are_idempotent

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        """Mark accepted messages as sent and reset the failures of their channels."""
        super().settle_accepted(attempts)
        by_message = {
            message_id: item for item in attempts if (message_id := item.claimed.delivery.message_id) is not None
        }
        sent = []
        messages = list(Message.objects.select_for_update(no_key=True).filter(pk__in=by_message).order_by("pk"))
        for message in messages:
            outcome = by_message[message.pk].outcome
            message.external_id = message.external_id or outcome.external_id
            if Message.RANK[outcome.status] > Message.RANK[message.status]:
                message.status, message.status_at, message.reason = outcome.status, timezone.now(), ""
                sent.append(message)
        update_rows(messages, ["status", "status_at", "external_id", "reason"])
        recording.count_statuses(sent)
        # Only the conversation's own contact: the IDs of a merged contact are known from its own messages.
        own = [message for message in messages if message.merged_contact_id is None]
        _learn_contact_ids({message.conversation_id: by_message[message.pk] for message in own})
        for channel in {item.claimed.delivery.api_channel for item in attempts}:
            mine = [message for message in messages if message.api_channel_id == channel.pk]
            if any(message.external_id for message in mine):
                message_statuses.apply_stray_statuses(channel, mine)
            if channel.last_error or (mine and channel.first_outbound_at is None):
                channel.record_success(with_answer=bool(mine))
                self.settings.forget(channel.pk)

    def on_given_up(self, attempt: AttemptResult) -> None:
        provider_uploads.forget_rejected_upload(attempt.claimed.delivery, attempt.outcome.reason)
        super().on_given_up(attempt)

    def on_retry(self, attempt: AttemptResult, *, seconds: float) -> None:
        if attempt.outcome.contact_backoff_base is not None:
            channel_id = self.get_destination_id(attempt.claimed.delivery)
            rate_limits.exhaust_limits(channel_id, attempt.contact_rates, seconds=seconds)
        super().on_retry(attempt, seconds=seconds)

    def compute_retry_delay(self, attempt: AttemptResult) -> float | None:
        seconds = super().compute_retry_delay(attempt)
        if seconds is not None and attempt.outcome.contact_backoff_base is not None:
            return _compute_contact_backoff(attempt.claimed.delivery, attempt.outcome)
        return seconds


def _upload_file(
    delivery: Delivery, request: DeliveryRequest, account: Account
) -> http_client.Exchange[tuple[Outcome | None, DeliveryRequest, CachedUpload | None]]:
    """Upload the request's file if the provider accepts uploads.

    Return the failure or None, the request to send, and the upload if one was made.
    """
    provider = delivery.api_channel.provider
    file = next(iter(request.files), None)
    if not provider.accepts_uploads or file is None or not file.stored or file.external_id:
        return None, request, None
    result = yield from provider_uploads.upload_file(file, provider, account)
    if not isinstance(result, CachedUpload):
        return result, request, None
    files = (replace(file, external_id=result.external_id), *request.files[1:])
    return None, replace(request, files=files), result


def _learn_contact_ids(by_conversation: Mapping[int, AttemptResult]) -> None:
    """Store the contact IDs that the provider's responses report, after the commit: contacts are not locked here."""
    changed = {}
    for pk, item in by_conversation.items():
        contact, ours = item.outcome.contact, item.claimed.delivery.payload.get("contact") or {}
        if any(value and value != ours.get(name) for name, value in vars(contact).items()):
            changed[pk] = contact
    if changed:
        transaction.on_commit(lambda: contacts.learn_recipient_ids(changed), robust=True)


def _compute_contact_backoff(delivery: Delivery, outcome: Outcome) -> float:
    """Return the backoff in seconds: 1, 4, 16, 64 … for base 4. The current attempt is already stored."""
    earlier = Attempt.objects.filter(delivery=delivery, reason=outcome.reason, number__gt=delivery.attempts_before)
    repeats = max(earlier.count() - 1, 0)
    seconds = max((outcome.contact_backoff_base or 1.0) ** min(repeats, 20), outcome.retry_after or 0.0)
    return float(min(seconds, MAX_RETRY_AFTER))
