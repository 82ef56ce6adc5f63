"""Counting of attempts whose results were saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bridge.metrics import catalog, recording
from channels_setup.providers.base import ACCEPTED

from .attempts import AttemptResult


def count_attempts(attempts: Sequence[AttemptResult]) -> None:
    """Count attempts, their durations, and how long their deliveries waited."""
    tally: Counter[tuple[str, ...]] = Counter(
        (recording.name_destination(item.claimed.delivery), item.claimed.delivery.kind, item.outcome.verdict)
        for item in attempts
    )
    recording.count_tally(catalog.ATTEMPTS, tally)
    for item in attempts:
        delivery = item.claimed.delivery
        duration = item.duration_ms / 1000
        catalog.ATTEMPT_DURATION.observe(duration, delivery.kind)
        waited = (item.started_at - delivery.created_at).total_seconds()
        if delivery.attempts == 1:
            catalog.DELIVERY_DELAY.observe(waited, delivery.kind, catalog.FIRST_ATTEMPT)
        if item.outcome.verdict == ACCEPTED:
            catalog.DELIVERY_DELAY.observe(waited + duration, delivery.kind, catalog.DELIVERED)
