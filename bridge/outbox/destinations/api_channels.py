"""Common base of messages to contacts and events for receivers: both go to API channels."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from django.utils import timezone

from bridge import outcomes
from bridge.channel_health import alerts, failure_effects
from bridge.channel_health.circuit_breaker import API_CHANNEL_FIGURES
from bridge.models import Delivery
from bridge.outbox.attempts import AttemptResult, CallResult, ClaimedDelivery
from bridge.outbox.policies import UNKNOWN_OUTCOME, DestinationPolicy, RememberedSettings
from channels_setup import http_client
from channels_setup.models import ApiChannel
from channels_setup.providers.base import (
    ACCEPTED,
    PERMANENT,
    Account,
    ApiRequest,
    ApiResponse,
    ContactInfo,
    DeliveryRequest,
    FileInfo,
    OutboundReaction,
    Outcome,
)

logger = logging.getLogger(__name__)

IN_FLIGHT = 128  # concurrent calls to one channel in one lane, all workers together


class ChannelSettings:
    """An API channel and its account with the secrets in clear."""

    def __init__(self, channel: ApiChannel) -> None:
        self.channel = channel

    @cached_property
    def account(self) -> Account:
        return self.channel.account()


def load_channels(ids: Collection[int]) -> Mapping[int, ChannelSettings]:
    return {pk: ChannelSettings(channel) for pk, channel in ApiChannel.objects.in_bulk(ids).items()}


class ApiChannelPolicy(DestinationPolicy):
    """Deliveries to API channels."""

    column = "api_channel"
    in_flight = IN_FLIGHT
    min_delay_when_overloaded = 60.0
    breaker = API_CHANNEL_FIGURES

    def __init__(self) -> None:
        self.settings: RememberedSettings[ChannelSettings] = RememberedSettings(load_channels)

    def get_account(self, delivery: Delivery) -> Account:
        pk = self.get_destination_id(delivery)
        return self.settings.get([pk])[pk].account

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        found = self.settings.get({self.get_destination_id(item.delivery) for item in claimed})
        for item in claimed:
            item.delivery.api_channel = found[self.get_destination_id(item.delivery)].channel
        return list(claimed)

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        for delivery in (item.claimed.delivery for item in attempts):
            if delivery.attempts > alerts.STUCK_AFTER_FAILURES:
                alerts.settle_alert(alerts.Kind.STUCK, api_channel_id=delivery.api_channel_id, delivery_id=delivery.pk)

    def on_pause(self, attempt: AttemptResult) -> None:
        failure_effects.pause_channel(attempt.claimed.delivery.api_channel, attempt.outcome.reason)

    def on_given_up(self, attempt: AttemptResult) -> None:
        attempt.claimed.delivery.api_channel.record_failure(attempt.outcome.reason)

    def on_retry(self, attempt: AttemptResult, *, seconds: float) -> None:
        delivery, reason = attempt.claimed.delivery, attempt.outcome.reason
        if delivery.attempts >= 2:
            delivery.api_channel.record_failure(reason)
        if delivery.attempts_since_resend == alerts.STUCK_AFTER_FAILURES:
            alerts.raise_alert(
                alerts.Kind.STUCK, api_channel_id=delivery.api_channel_id, delivery_id=delivery.pk, why_code=reason
            )

    def on_recorded(self, attempts: Sequence[AttemptResult], *, opened: Collection[int]) -> None:
        left = set(opened)
        for item in reversed(attempts):
            channel = item.claimed.delivery.api_channel
            if channel.pk in left and not self.is_destination_ok(item.outcome):
                channel.record_failure(item.outcome.reason)
                left.remove(channel.pk)

    def is_destination_ok(self, outcome: Outcome) -> bool:
        if outcome.code:  # the provider's API answered with an error of its own
            return not outcomes.get_effects(outcome.reason).destination_down
        return outcome.verdict in (ACCEPTED, PERMANENT) or outcome.reason in ("rate_limited", "internal_error")


def call_and_judge(
    request: ApiRequest, judge: Callable[[ApiResponse], Outcome], *, delivery: Delivery
) -> http_client.Exchange[CallResult]:
    """Make one call and judge its response."""
    if not request.url:
        return CallResult(outcome=Outcome(verdict=PERMANENT, reason="no_redirect_url"))
    response = yield http_client.Call(request=request)
    try:
        return CallResult(outcome=judge(response), response=response)
    except Exception:  # the request was sent, so the outcome is unknown
        logger.exception("response not judged", extra={"delivery": delivery.pk})
        return CallResult(outcome=UNKNOWN_OUTCOME, response=response)


def build_request(delivery: Delivery, *, file_id: str = "") -> DeliveryRequest:
    """Describe a delivery for its provider. `file_id`: the provider's ID of its file."""
    payload = delivery.payload
    files = [FileInfo(**file) for file in payload.get("files", [])]
    if file_id and files:
        files[0] = replace(files[0], external_id=file_id)
    contact = payload.get("contact") or {}
    return DeliveryRequest(
        key=delivery.key,
        attempt=delivery.attempts,
        at=timezone.now(),
        event=payload["event"],
        text=payload.get("text", ""),
        template=payload.get("template"),
        components=tuple(payload.get("components") or ()),
        quoted_id=payload.get("quoted_id", ""),
        contact=ContactInfo(
            external_id=contact.get("external_id", ""),
            phone=contact.get("phone", ""),
            user_id=contact.get("user_id", ""),
        ),
        files=tuple(files),
        reaction=OutboundReaction(**payload["reaction"]) if payload.get("reaction") else None,
    )
