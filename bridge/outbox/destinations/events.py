"""Events for API channels that subscribe to them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from bridge.channel_health.rate_limits import RateRequest
from bridge.models import Delivery
from bridge.outbox.attempts import AttemptResult, CallResult, ClaimedDelivery
from bridge.outbox.policies import Lane
from channels_setup import http_client
from channels_setup.providers.base import Account, channel_call_rate

from .api_channels import ApiChannelPolicy, build_request, call_and_judge


class EventPolicy(ApiChannelPolicy):
    """Events for API channels. They may always be repeated: receivers deduplicate them by key."""

    kinds = (Delivery.Kind.EVENT,)
    lane = Lane.EVENTS
    leaves_free = 96
    claims_durably = False
    retry_delays = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 50_400, 86_400)

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        return self.give_up_exhausted(super().admit(claimed, token), token)

    def build_rate_request(self, item: ClaimedDelivery) -> RateRequest:
        rates = channel_call_rate(self.get_account(item.delivery))
        return RateRequest(delivery=item.delivery, api_channel_id=item.delivery.api_channel_id, rates=rates)

    def start(self, admitted: Sequence[ClaimedDelivery]) -> list[http_client.Exchange[AttemptResult]]:
        accounts = [self.get_account(item.delivery) for item in admitted]
        return [
            self.attempt(item, self.call(item.delivery, account), secrets=account.all_secrets())
            for item, account in zip(admitted, accounts, strict=True)
        ]

    def call(self, delivery: Delivery, account: Account) -> http_client.Exchange[CallResult]:
        provider = delivery.api_channel.provider
        request = provider.build_event_request(build_request(delivery), account)
        return (yield from call_and_judge(request, provider.judge_event_response, delivery=delivery))

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        super().settle_accepted(attempts)
        for channel in {item.claimed.delivery.api_channel for item in attempts}:
            if channel.last_error:
                channel.record_success(with_answer=False)
                self.settings.forget(channel.pk)
