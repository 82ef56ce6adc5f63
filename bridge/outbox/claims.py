"""Which deliveries are due: claimed in one statement, under a lease.

Of each conversation, destination and kind only the oldest unfinished delivery is due; a destination has at most so many
calls in flight, and none while it rests, is at its own limit, or is down and has its probe; rows that somebody else is
claiming are skipped.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from bridge.channel_health import circuit_breaker, rate_limits
from bridge.models import Delivery, Message
from channels_setup.models import ApiChannel

from .results import ClaimedDelivery

LEASE_SECONDS = 60  # longer than any call may last (outgoing.DEADLINE_SECONDS)
IN_FLIGHT = 64  # calls to one destination at once, all workers together
MAX_WORKER_CRASHES = 2  # tries that were cut off before a delivery is a suspect

# Destination by destination, so that a long queue before one never hides what is due for another; each gives at most
# its fair share of the places asked for, and one probe at a time while its breaker is open. The first of a line is the
# minimum, not the one with "no older one": that is one look into the index, whatever the planner believes of a table
# that has grown since it was last analysed (an anti-join read the whole backlog for each row). The clock is asked once,
# in a SELECT of its own: an index takes no bound that may change while it is read, and all that waits for its next try
# hours from now would be read instead. Whether a destination has anything due its earliest row says, which is one look;
# an EXISTS is sought in the table itself where it is believed to be common, and reads all of it when it is not.
CLAIM_SQL = f"""
WITH probe AS ({circuit_breaker.PROBE_SQL}), destination AS (
    SELECT c.id, least(
        %(in_flight)s - (SELECT count(*) FROM bridge_delivery busy
                         WHERE busy.api_channel_id = c.id AND busy.state = 'sending'
                           AND busy.chat_channel_id IS NULL AND busy.next_attempt_at > clock_timestamp()),
        ceil(%(limit)s::numeric / count(*) OVER ()),
        CASE WHEN b.paused_until > clock_timestamp() THEN 0
             WHEN b.is_open THEN (c.id IN (SELECT api_channel_id FROM probe))::int ELSE %(in_flight)s END,
        (SELECT min(least(r.burst, r.burst + floor(extract(epoch FROM clock_timestamp() - r.met_at) / r.every)))
         FROM bridge_ratelimit r
         WHERE r.api_channel_id = c.id AND r.whole_channel
           AND r.met_at > clock_timestamp() - make_interval(secs => %(forgotten)s))) AS free
    FROM channels_setup_apichannel c LEFT JOIN bridge_circuitbreaker b ON b.api_channel_id = c.id
    WHERE c.state <> 'paused' AND clock_timestamp() >= (
        SELECT min(d.next_attempt_at) FROM bridge_delivery d
        WHERE d.api_channel_id = c.id AND d.chat_channel_id IS NULL AND d.state IN ('pending', 'sending'))
), due AS (
    SELECT head.id, head.was FROM destination, LATERAL (
        SELECT d.id, d.state AS was FROM bridge_delivery d
        WHERE d.api_channel_id = destination.id AND d.chat_channel_id IS NULL
          AND d.state IN ('pending', 'sending') AND d.next_attempt_at <= (SELECT clock_timestamp())
          AND (d.state = 'sending' AND d.attempts - d.attempts_before >= %(deaths)s) = %(suspects)s
          AND d.id = (
              SELECT min(line.id) FROM bridge_delivery line
              WHERE line.api_channel_id = d.api_channel_id AND line.conversation_id = d.conversation_id
                AND line.kind = d.kind AND line.state IN ('pending', 'sending'))
        ORDER BY d.next_attempt_at, d.id LIMIT greatest(destination.free, 0)
        FOR UPDATE SKIP LOCKED
    ) head LIMIT %(limit)s
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due
WHERE d.id = due.id
RETURNING d.*, due.was
"""


# Asked first: to plan the claim costs PostgreSQL ten times what these do, and most looks find nothing.
ANY_DUE_SQL = """
SELECT EXISTS (SELECT 1 FROM channels_setup_apichannel c WHERE c.state <> 'paused' AND clock_timestamp() >= (
    SELECT min(d.next_attempt_at) FROM bridge_delivery d
    WHERE d.api_channel_id = c.id AND d.chat_channel_id IS NULL AND d.state IN ('pending', 'sending')))
"""
ANY_POISON_SQL = """
SELECT EXISTS (SELECT 1 FROM bridge_delivery
               WHERE state = 'sending' AND chat_channel_id IS NULL AND next_attempt_at <= clock_timestamp()
                 AND attempts - attempts_before >= %(deaths)s)
"""


def claim_deliveries(token: uuid.UUID, *, limit: int, suspects: bool = False) -> list[ClaimedDelivery]:
    """Lease up to ``limit`` due deliveries under ``token``: suspects, or all others. Committed before it returns."""
    if limit <= 0 or not _has_any(ANY_POISON_SQL if suspects else ANY_DUE_SQL):
        return []
    values: dict[str, Any] = {"in_flight": IN_FLIGHT, "limit": limit, "token": token, "lease": LEASE_SECONDS}
    values |= {
        "deaths": MAX_WORKER_CRASHES,
        "forgotten": rate_limits.BUCKET_IDLE_SECONDS,
        "probe_seconds": circuit_breaker.PROBE_SECONDS,
    }
    # A suspect is no probe: its failure would say nothing of the destination.
    values |= {"suspects": suspects, "probes": not suspects}
    rows: list[Any] = sorted(
        Delivery.objects.raw(CLAIM_SQL, values), key=lambda row: row.pk
    )  # each with its state before
    channels = ApiChannel.objects.in_bulk({row.api_channel_id for row in rows})
    sent = {row.message_id for row in rows if row.kind == Delivery.Kind.MESSAGE and row.message_id}
    messages = Message.objects.in_bulk(sent) if sent else {}
    for row in rows:
        row.api_channel = channels[row.api_channel_id]
        if row.message_id in messages:
            row.message = messages[row.message_id]
    return [ClaimedDelivery(delivery=row, interrupted=row.was == Delivery.State.SENDING) for row in rows]


def _has_any(question: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(question, {"deaths": MAX_WORKER_CRASHES})
        return bool(cursor.fetchone()[0])
