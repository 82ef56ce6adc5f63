"""Claiming of due deliveries in one statement, under a lease.

Only the oldest unfinished delivery of each conversation, destination and kind is due. A destination has a limited
number of running calls: none while it is paused or at its rate limit, and one probe while its circuit breaker is open.
Rows that another worker is claiming are skipped.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from bridge.channel_health import circuit_breaker, rate_limits
from bridge.models import Delivery, Message
from channels_setup.models import ApiChannel

from .results import ClaimedDelivery

LEASE_SECONDS = 60  # longer than any call may take
IN_FLIGHT = 128  # concurrent calls to one destination, all workers together
MAX_WORKER_CRASHES = 2  # interrupted attempts after which a delivery is a poison message

# Each destination is claimed separately, so that a long queue for one does not delay others. At most a fair share of
# `limit` is claimed for each destination, and one probe at a time while its circuit breaker is open.
#
# The head of a queue is the minimum ID, which is one index lookup. An anti-join (no older row) read the whole backlog
# for each row when the table had grown since its last ANALYZE. `(SELECT clock_timestamp())` is evaluated once: an index
# scan cannot use a volatile bound and would read every delivery that waits for a retry. The earliest row shows whether
# a destination has anything due; an EXISTS may scan the whole table when the planner expects many matches.
CLAIM_SQL = f"""
WITH probe AS ({circuit_breaker.PROBE_SQL}), destination AS (
    SELECT c.id, least(
        %(in_flight)s - (SELECT count(*) FROM bridge_delivery busy
                         WHERE busy.api_channel_id = c.id AND busy.state = 'sending'
                           AND busy.chat_channel_id IS NULL AND busy.next_attempt_at > clock_timestamp()),
        ceil(%(limit)s::numeric / count(*) OVER ()),
        CASE WHEN b.backoff_until > clock_timestamp() THEN 0
             WHEN b.is_open THEN (c.id IN (SELECT api_channel_id FROM probe))::int ELSE %(in_flight)s END,
        (SELECT min(least(r.burst, r.burst + floor(extract(epoch FROM clock_timestamp() - r.met_at) / r.every)))
         FROM bridge_ratelimit r
         WHERE r.api_channel_id = c.id AND r.whole_channel
           AND r.met_at > clock_timestamp() - make_interval(secs => %(bucket_idle)s))) AS free_slots
    FROM channels_setup_apichannel c LEFT JOIN bridge_circuitbreaker b ON b.api_channel_id = c.id
    WHERE c.state <> 'paused' AND clock_timestamp() >= (
        SELECT min(d.next_attempt_at) FROM bridge_delivery d
        WHERE d.api_channel_id = c.id AND d.chat_channel_id IS NULL AND d.state IN ('pending', 'sending'))
), due AS (
    SELECT head.id, head.previous_state FROM destination, LATERAL (
        SELECT d.id, d.state AS previous_state FROM bridge_delivery d
        WHERE d.api_channel_id = destination.id AND d.chat_channel_id IS NULL
          AND d.state IN ('pending', 'sending') AND d.next_attempt_at <= (SELECT clock_timestamp())
          AND (d.state = 'sending' AND d.attempts - d.attempts_before >= %(max_crashes)s) = %(poison)s
          AND d.id = (
              SELECT min(queued.id) FROM bridge_delivery queued
              WHERE queued.api_channel_id = d.api_channel_id AND queued.conversation_id = d.conversation_id
                AND queued.kind = d.kind AND queued.state IN ('pending', 'sending'))
        ORDER BY d.next_attempt_at, d.id LIMIT greatest(destination.free_slots, 0)
        FOR UPDATE SKIP LOCKED
    ) head LIMIT %(limit)s
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due
WHERE d.id = due.id
RETURNING d.*, due.previous_state
"""


# Checked first: planning the claim costs ten times as much, and most runs find nothing due.
ANY_DUE_SQL = """
SELECT EXISTS (SELECT 1 FROM channels_setup_apichannel c WHERE c.state <> 'paused' AND clock_timestamp() >= (
    SELECT min(d.next_attempt_at) FROM bridge_delivery d
    WHERE d.api_channel_id = c.id AND d.chat_channel_id IS NULL AND d.state IN ('pending', 'sending')))
"""
ANY_POISON_SQL = """
SELECT EXISTS (SELECT 1 FROM bridge_delivery
               WHERE state = 'sending' AND chat_channel_id IS NULL AND next_attempt_at <= clock_timestamp()
                 AND attempts - attempts_before >= %(max_crashes)s)
"""


def claim_deliveries(token: uuid.UUID, *, limit: int, poison: bool = False) -> list[ClaimedDelivery]:
    """Lease up to `limit` due deliveries under `token`: poison messages, or all others. Commits before it returns."""
    if limit <= 0 or not _query_bool(ANY_POISON_SQL if poison else ANY_DUE_SQL):
        return []
    values: dict[str, Any] = {"in_flight": IN_FLIGHT, "limit": limit, "token": token, "lease": LEASE_SECONDS}
    values |= {
        "max_crashes": MAX_WORKER_CRASHES,
        "bucket_idle": rate_limits.BUCKET_IDLE_SECONDS,
        "probe_seconds": circuit_breaker.PROBE_SECONDS,
    }
    # A poison message is no probe: its failure says nothing about the destination.
    values |= {"poison": poison, "probes": not poison}
    # Each row has its `previous_state`.
    rows: list[Any] = sorted(Delivery.objects.raw(CLAIM_SQL, values), key=lambda row: row.pk)
    channels = ApiChannel.objects.in_bulk({row.api_channel_id for row in rows})
    message_ids = {row.message_id for row in rows if row.kind == Delivery.Kind.MESSAGE and row.message_id}
    messages = Message.objects.in_bulk(message_ids) if message_ids else {}
    for row in rows:
        row.api_channel = channels[row.api_channel_id]
        if row.message_id in messages:
            row.message = messages[row.message_id]
    return [ClaimedDelivery(delivery=row, interrupted=row.previous_state == Delivery.State.SENDING) for row in rows]


def _query_bool(query: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, {"max_crashes": MAX_WORKER_CRASHES})
        return bool(cursor.fetchone()[0])
