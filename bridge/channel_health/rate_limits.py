"""Limits obeyed before the other side complains: buckets in PostgreSQL, shared by all workers.

The generic cell rate algorithm (ITU-T I.371): a bucket is one time, at which its limit would be met exactly. A call
may go while that time is at most ``burst - 1`` calls ahead of the clock, and moves it on by ``every``. A delivery that
must wait is put back without having used up a try.
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

BUCKET_IDLE_SECONDS = 60  # seconds without a call after which a bucket holds nobody back


@dataclass(frozen=True, kw_only=True)
class RateRequest:
    """A delivery that would go out now, and the limits under which it stands."""

    delivery: Delivery
    rates: tuple[CallRate, ...]


def postpone_limited(asked: Sequence[RateRequest], token: uuid.UUID) -> set[int]:
    """Draw for each what it needs, all or nothing; the deliveries that may not go yet are put back. Their ids."""
    if not any(item.rates for item in asked):
        return set()
    with transaction.atomic(), connection.cursor() as cursor:
        buckets = sorted(
            {(item.delivery.api_channel_id, rate) for item in asked for rate in item.rates}, key=_get_lock_order
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
        waits = _compute_waits(asked, ahead)
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
    """The other side says that these are used up: the next call under one goes in ``seconds``, and then one by one."""
    now = service_window.database_now()
    for rate in sorted(limits, key=lambda rate: rate.key):
        met_at = now + timedelta(seconds=seconds + (rate.burst - 1) * rate.every)
        rows = RateLimit.objects.filter(api_channel=channel_id, key=rate.key)
        rows.update(met_at=Greatest("met_at", Value(met_at)))


def _get_lock_order(bucket: tuple[int, CallRate]) -> tuple[int, str]:
    return bucket[0], bucket[1].key  # one order of locks for all workers


def _compute_waits(asked: Sequence[RateRequest], ahead: dict[tuple[int, str], float]) -> dict[int, float]:
    """Seconds to wait for those that may not go; ``ahead`` moves on for those that may."""
    waits = {}
    for item in asked:
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
    """Seconds until the first channel that waits for its own limit may call again; None where none waits."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT extract(epoch FROM min(r.met_at - make_interval(secs => (r.burst - 1) * r.every))
                                      - clock_timestamp())::float8
            FROM bridge_ratelimit r
            -- One that came free a moment ago counts: the claim may have looked the moment before.
            WHERE r.whole_channel AND r.met_at > clock_timestamp() - interval '1 second'
              AND clock_timestamp() + interval '1 second' >= (
                SELECT min(d.next_attempt_at) FROM bridge_delivery d
                WHERE d.api_channel_id = r.api_channel_id AND d.chat_channel_id IS NULL AND d.state = 'pending')
            """
        )
        seconds: float | None = cursor.fetchone()[0]
        return None if seconds is None else max(seconds, 0.0)


def find_limited_channels(*, now: datetime) -> QuerySet[RateLimit, int]:
    """API channels that were at their limit a moment ago: what waits there is not overdue."""
    recent = now - timedelta(seconds=BUCKET_IDLE_SECONDS)
    return RateLimit.objects.filter(whole_channel=True, met_at__gt=recent).values_list("api_channel_id", flat=True)


def prune_buckets(*, now: datetime) -> int:
    """Drop buckets that nobody has drawn from for an hour: one of a contact that wrote once is of no more use."""
    return RateLimit.objects.filter(met_at__lt=now - timedelta(hours=1)).delete()[0]
