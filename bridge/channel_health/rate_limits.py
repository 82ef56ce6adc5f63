"""Rate limits: token buckets in PostgreSQL, shared by all workers, so that providers need not reject calls.

The generic cell rate algorithm (ITU-T I.371): a bucket is one time, at which its limit would be exactly met. A call is
allowed while that time is at most `burst - 1` calls ahead of the clock, and advances it by `every`. A delivery that
must wait is postponed without using up an attempt.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Greatest

from bridge import service_window
from bridge.models import Delivery, RateLimit
from channels_setup.providers.base import CallRate

BUCKET_IDLE_SECONDS = 60  # seconds without a call after which a bucket limits nothing


@dataclass(frozen=True, kw_only=True)
class RateRequest:
    """A delivery to be sent now, and the limits that apply to it."""

    delivery: Delivery
    rates: tuple[CallRate, ...]


def postpone_limited(requests: Sequence[RateRequest], token: uuid.UUID) -> set[int]:
    """Take a token of each limit for each delivery, all or none. Postpone those that must wait and return their IDs."""
    if not any(item.rates for item in requests):
        return set()
    with transaction.atomic(), connection.cursor() as cursor:
        buckets = sorted(
            {(item.delivery.api_channel_id, rate) for item in requests for rate in item.rates}, key=_get_lock_order
        )
        cursor.execute(
            """
            INSERT INTO bridge_ratelimit (api_channel_id, key, every, burst, whole_channel, met_at)
            SELECT *, clock_timestamp() FROM unnest(%s::bigint[], %s::text[], %s::float8[], %s::int[], %s::bool[])
            ON CONFLICT (api_channel_id, key) DO UPDATE
            SET every = excluded.every, burst = excluded.burst, whole_channel = excluded.whole_channel
            RETURNING api_channel_id, key, extract(epoch FROM met_at - clock_timestamp())::float8
            """,
            [
                [channel_id for channel_id, _rate in buckets],
                [rate.key for _channel_id, rate in buckets],
                [rate.every for _channel_id, rate in buckets],
                [rate.burst for _channel_id, rate in buckets],
                [rate.whole_channel for _channel_id, rate in buckets],
            ],
        )
        ahead = {(channel_id, key): max(seconds, 0.0) for channel_id, key, seconds in cursor.fetchall()}
        waits = _compute_waits(requests, ahead)
        cursor.execute(
            """
            UPDATE bridge_ratelimit r SET met_at = clock_timestamp() + make_interval(secs => v.ahead)
            FROM unnest(%s::bigint[], %s::text[], %s::float8[]) AS v(channel_id, key, ahead)
            WHERE r.api_channel_id = v.channel_id AND r.key = v.key
            """,
            [[pair[0] for pair in ahead], [pair[1] for pair in ahead], list(ahead.values())],
        )
        if waits:
            cursor.execute(
                """
                UPDATE bridge_delivery d SET state = 'pending', attempts = attempts - 1, lease_token = NULL,
                    next_attempt_at = clock_timestamp() + make_interval(secs => v.wait)
                FROM unnest(%s::bigint[], %s::float8[]) AS v(id, wait)
                WHERE d.id = v.id AND d.lease_token = %s
                """,
                [list(waits), list(waits.values()), token],
            )
    return set(waits)


def exhaust_limits(channel_id: int, limits: Sequence[CallRate], *, seconds: float) -> None:
    """Mark limits as exhausted: the next call is allowed in `seconds`, then one by one."""
    now = service_window.database_now()
    for rate in sorted(limits, key=lambda rate: rate.key):
        met_at = now + timedelta(seconds=seconds + (rate.burst - 1) * rate.every)
        rows = RateLimit.objects.filter(api_channel=channel_id, key=rate.key)
        rows.update(met_at=Greatest("met_at", Value(met_at)))


def _get_lock_order(bucket: tuple[int, CallRate]) -> tuple[int, str]:
    return bucket[0], bucket[1].key  # one lock order for all workers


def _compute_waits(requests: Sequence[RateRequest], ahead: dict[tuple[int, str], float]) -> dict[int, float]:
    """Return the seconds to wait by delivery ID; advance `ahead` for those that may go."""
    waits = {}
    for item in requests:
        channel_id = item.delivery.api_channel_id
        wait = max(
            (ahead[channel_id, rate.key] - (rate.burst - 1) * rate.every for rate in item.rates),
            default=0.0,
        )
        if wait > 0:
            waits[item.delivery.pk] = wait
            continue
        for rate in item.rates:
            ahead[channel_id, rate.key] += rate.every
    return waits


def get_seconds_until_free() -> float | None:
    """Return seconds until the first channel at its own limit may call again, or None."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT extract(epoch FROM min(r.met_at - make_interval(secs => (r.burst - 1) * r.every))
                                      - clock_timestamp())::float8
            FROM bridge_ratelimit r
            -- Include limits that became free a moment ago: the claim may have run just before.
            WHERE r.whole_channel AND r.met_at > clock_timestamp() - interval '1 second'
              AND clock_timestamp() + interval '1 second' >= (
                SELECT min(d.next_attempt_at) FROM bridge_delivery d
                WHERE d.api_channel_id = r.api_channel_id AND d.chat_channel_id IS NULL AND d.state = 'pending')
            """
        )
        seconds: float | None = cursor.fetchone()[0]
        return None if seconds is None else max(seconds, 0.0)


def find_limited_channels(*, now: datetime) -> QuerySet[RateLimit, int]:
    """Return API channels that were at their limit a moment ago: their deliveries are not overdue."""
    recent = now - timedelta(seconds=BUCKET_IDLE_SECONDS)
    return RateLimit.objects.filter(whole_channel=True, met_at__gt=recent).values_list("api_channel_id", flat=True)


def prune_buckets(*, now: datetime) -> int:
    """Delete buckets unused for an hour. Return how many."""
    return RateLimit.objects.filter(met_at__lt=now - timedelta(hours=1)).delete()[0]
