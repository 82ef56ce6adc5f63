"""Retry schedule: when a failed delivery is attempted again, and when it is given up."""

from __future__ import annotations

import random

from bridge.models import Delivery
from channels_setup.providers.base import Outcome

# Seconds after each failed attempt. A message is given up after the last, or when its window closes.
MESSAGE_RETRY_DELAYS = (5, 15, 60, 180, 600, 1_800, 3_600, 7_200, 14_400)
EVENT_RETRY_DELAYS = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 50_400, 86_400)
JITTER = 0.2  # ±20 %
MAX_RETRY_AFTER = 3_600.0
MIN_DELAY_WHEN_OVERLOADED = 60.0  # 429, 502, 503, 504


def _get_retry_delays(delivery: Delivery) -> tuple[int, ...]:
    return MESSAGE_RETRY_DELAYS if delivery.kind == Delivery.Kind.MESSAGE else EVENT_RETRY_DELAYS


def has_exhausted_attempts(delivery: Delivery) -> bool:
    """Return whether a claimed delivery has used up its attempts. Attempts that crashed a worker count, too."""
    return delivery.attempts - delivery.attempts_before > len(_get_retry_delays(delivery)) + 1


def compute_retry_delay(delivery: Delivery, outcome: Outcome, *, http_status: int | None) -> float | None:
    """Return the seconds until the next attempt, or None after the last one."""
    delays = _get_retry_delays(delivery)
    attempts = delivery.attempts - delivery.attempts_before
    if attempts > len(delays):
        return None
    seconds = delays[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    if outcome.retry_after is not None:
        return max(seconds, min(outcome.retry_after, MAX_RETRY_AFTER))
    if http_status in (429, 502, 503, 504):
        return max(seconds, MIN_DELAY_WHEN_OVERLOADED)
    return seconds
