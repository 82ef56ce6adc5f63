"""Claim and prepare deliveries of all kinds, as a run does, for tests that look at the steps of one."""

from __future__ import annotations

import uuid

from bridge.outbox import claims, preparation
from bridge.outbox.attempts import AttemptResult, ClaimedDelivery
from bridge.outbox.destinations import POLICIES
from channels_setup import http_client


def claim_deliveries(token: uuid.UUID, *, limit: int, poison: bool = False) -> list[ClaimedDelivery]:
    """Claim due deliveries for all kinds of destination."""
    claimed: list[ClaimedDelivery] = []
    for policy in POLICIES:
        claimed += claims.claim_deliveries(policy(), token, limit=limit - len(claimed), poison=poison)
    return claimed


def attempt_delivery(item: ClaimedDelivery, token: uuid.UUID) -> AttemptResult:
    """Make the calls of a claimed delivery."""
    (exchange,) = preparation.prepare_exchanges([item], token)
    return http_client.run_exchange(exchange)
