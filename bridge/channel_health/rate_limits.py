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
from channels_setup import prepared_statements
from channels_setup.providers.base import CallRate

BUCKET_IDLE_SECONDS = 60  # seconds without a call after which a bucket limits nothing


@dataclass(frozen=True, kw_only=True)
class RateRequest:
    """A delivery to be sent now, and the limits that apply to it.

    `api_channel_id`: whose limits they are; None if their keys are unique, because chat channels share them.
    """

    delivery: Delivery
    rates: tuple[CallRate, ...]
    api_channel_id: int | None = None
    calls: int = 1


Bucket = tuple[int | None, str]  # API channel ID and key

# Rows are locked in the order of the arrays, which is the same for all workers.
OPEN_BUCKETS_SQL = """
INSERT INTO bridge_ratelimit (api_channel_id, key, every, burst, whole_channel, met_at)
SELECT *, clock_timestamp() FROM unnest(%s::bigint[], %s::text[], %s::float8[], %s::int[], %s::bool[])
ON CONFLICT (api_channel_id, key) DO UPDATE
SET every = excluded.every, burst = excluded.burst, whole_channel = excluded.whole_channel
RETURNING id, api_channel_id, key, extract(epoch FROM met_at - clock_timestamp())::float8
"""
ADVANCE_BUCKETS_SQL = """
UPDATE bridge_ratelimit r SET met_at = clock_timestamp() + make_interval(secs => v.ahead)
FROM unnest(%s::bigint[], %s::float8[]) AS v(id, ahead) WHERE r.id = v.id
"""
POSTPONE_SQL = """
UPDATE bridge_delivery d SET state = 'pending', attempts = attempts - 1, lease_token = NULL,
    next_attempt_at = clock_timestamp() + make_interval(secs => v.wait)
FROM unnest(%s::bigint[], %s::float8[]) AS v(id, wait) WHERE d.id = v.id AND d.lease_token = %s
"""


def postpone_limited(requests: Sequence[RateRequest], token: uuid.UUID) -> set[int]:
    """Take a token of each limit for each delivery, all or none. Postpone those that must wait and return their IDs."""
    buckets = {(item.api_channel_id, rate.key): rate for item in requests for rate in item.rates}
    if not buckets:
        return set()
    keys = sorted(buckets, key=lambda bucket: (bucket[0] or 0, bucket[1]))
    rates = [buckets[key] for key in keys]
    with transaction.atomic(), connection.cursor() as cursor:
        prepared_statements.execute(
            cursor,
            OPEN_BUCKETS_SQL,
            [
                [channel_id for channel_id, _key in keys],
                [rate.key for rate in rates],
                [rate.every for rate in rates],
                [rate.burst for rate in rates],
                [rate.whole_channel for rate in rates],
            ],
        )
        ids: dict[Bucket, int] = {}
        ahead: dict[Bucket, float] = {}
        for pk, channel_id, key, seconds in cursor.fetchall():
            ids[channel_id, key], ahead[channel_id, key] = pk, max(seconds, 0.0)
        waits = _compute_waits(requests, ahead)
        prepared_statements.execute(
            cursor, ADVANCE_BUCKETS_SQL, [list(ids.values()), [ahead[bucket] for bucket in ids]]
        )
        if waits:
            cursor.execute(POSTPONE_SQL, [list(waits), list(waits.values()), token])
    return set(waits)


def exhaust_limits(channel_id: int, limits: Sequence[CallRate], *, seconds: float) -> None:
    """Mark limits as exhausted: the next call is allowed in `seconds`, then one by one."""
    now = service_window.database_now()
    for rate in sorted(limits, key=lambda rate: rate.key):
        met_at = now + timedelta(seconds=seconds + (rate.burst - 1) * rate.every)
        rows = RateLimit.objects.filter(api_channel=channel_id, key=rate.key)
        rows.update(met_at=Greatest("met_at", Value(met_at)))


def _compute_waits(requests: Sequence[RateRequest], ahead: dict[Bucket, float]) -> dict[int, float]:
    """Return the seconds to wait by delivery ID; advance `ahead` for those that may go."""
    waits = {}
    for item in requests:
        buckets = [((item.api_channel_id, rate.key), rate) for rate in item.rates]
        wait = max((ahead[bucket] - (rate.burst - 1) * rate.every for bucket, rate in buckets), default=0.0)
        if wait > 0:
            waits[item.delivery.pk] = wait
            continue
        for bucket, rate in buckets:
            ahead[bucket] += rate.every * item.calls
    return waits


def find_limited_channels(*, now: datetime) -> QuerySet[RateLimit, int]:
    """Return API channels that were at their limit a moment ago: their deliveries are not overdue."""
    recent = now - timedelta(seconds=BUCKET_IDLE_SECONDS)
    limits = RateLimit.objects.filter(api_channel__isnull=False, whole_channel=True, met_at__gt=recent)
    return limits.values_list("api_channel_id", flat=True)
