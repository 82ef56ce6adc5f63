"""Claiming of due deliveries in one statement, under a lease: the same for all kinds of destination.

Only the oldest unfinished delivery of each conversation, destination and kind is due; of reactions, the oldest one of
each message. Alert messages have no conversation. A destination has a limited number of running calls: none while it is
paused or at its rate limit, and one probe while its circuit breaker is open. Rows that another worker is claiming are
skipped.

States of a delivery, and who moves it: pending → sending (this module); sending → delivered, pending, dead or unknown
(`results`); sending → pending if nothing was attempted (`preparation`, `rate_limits`); pending or sending → canceled
(`settling`). docs/architecture.md has the drawing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection

from bridge.channel_health import circuit_breaker, rate_limits
from bridge.models import Delivery
from bridge.row_reads import RowReader
from channels_setup import prepared_statements

from .attempts import ClaimedDelivery
from .policies import DestinationPolicy

DELIVERY = RowReader(Delivery, "d")
LEASE_SECONDS = 60  # longer than any call may take
MAX_WORKER_CRASHES = 2  # interrupted attempts after which a delivery is a poison message

# Column of a delivery that names a destination → the destination's table, and when it may be sent to. A delivery goes
# to the first destination in this list that it names.
DESTINATIONS = {
    "chat_channel": ("channels_setup_chatchannel", "TRUE"),
    "api_channel": ("channels_setup_apichannel", "c.state <> 'paused'"),
    "alert_route": ("channels_setup_alertroute", "TRUE"),
}

# What the claim of poison messages takes, and the claim of all others. The words of a condition decide which index can
# be used; see the indexes of `Delivery`. Only a delivery that is being sent has a lease token.
IS_POISON = "d.lease_token IS NOT NULL AND d.attempts - d.attempts_before >= {most}"
IS_ORDINARY = "d.state NOT IN ({finished}) AND (d.lease_token IS NULL OR d.attempts - d.attempts_before < {most})"

# Checked first: planning the claim costs ten times as much, and most runs find nothing due. The earliest row of each
# line (kind and priority) is one index lookup; an EXISTS may scan the whole table when the planner expects many
# matches. One subquery for all lines: PostgreSQL plans each subquery anew, which costs more than running it.
DUE_SQL = """
SELECT DISTINCT line.kind, c.id FROM (VALUES {lines}) AS line(kind, priority), {table} c, LATERAL (
    SELECT d.next_attempt_at FROM bridge_delivery d
    WHERE {is_mine} AND d.kind = line.kind AND d.kind IN ({kinds}) AND d.priority = line.priority
      AND d.state NOT IN ({finished})
    ORDER BY d.next_attempt_at LIMIT 1
) earliest
WHERE {may_send} AND earliest.next_attempt_at <= clock_timestamp() + make_interval(secs => %(slack)s)
"""
POISON_SQL = """
SELECT DISTINCT d.kind, c.id FROM bridge_delivery d JOIN {table} c ON {is_mine}
WHERE {is_due} AND d.kind IN ({kinds}) AND d.next_attempt_at <= clock_timestamp() AND {may_send}
  AND NOT EXISTS (SELECT 1 FROM bridge_circuitbreaker b
                  WHERE b.{column}_id = c.id AND (b.is_open OR b.backoff_until > clock_timestamp()))
"""

# Each destination is claimed separately, so that a long queue for one does not delay others. At most a fair share of
# `limit` is claimed for each destination that may get calls now, and one probe at a time while its circuit breaker is
# open.
#
# Breakers whose probe is due are taken first, each in exactly one claim. A locked row is skipped: waiting for it would
# break the lock order and deadlock.
#
# Each line (kind and priority) is read in the order of its index. The head of a conversation is the minimum ID, one
# index lookup. An anti-join (no older row) read the whole backlog for each row when the table had grown since its
# last ANALYZE. `(SELECT clock_timestamp())` is evaluated once: an index scan cannot use a volatile bound and would read
# every delivery that waits for a retry.
#
# The commit waits for the disk before a call that must not be repeated. A claim of events does not: if PostgreSQL
# crashes, the events are sent again under the same key, and the count of one attempt is lost.
CLAIM_SQL = """
WITH owner AS (SELECT * FROM unnest(%(ids)s::bigint[], %(limit_keys)s::text[]) AS owner(id, limit_key)
), due_probe AS MATERIALIZED (
    SELECT b.id FROM bridge_circuitbreaker b
    WHERE b.{column}_id = ANY(%(ids)s) AND b.is_open AND NOT {poison} AND b.probe_at <= clock_timestamp()
    FOR NO KEY UPDATE OF b SKIP LOCKED
), probe AS (
    UPDATE bridge_circuitbreaker b
    SET is_probing = TRUE, probe_at = clock_timestamp() + make_interval(secs => %(probe_seconds)s)
    FROM due_probe WHERE b.id = due_probe.id RETURNING b.{column}_id AS owner_id
), available AS (
    SELECT c.id, least(
        %(in_flight)s - (SELECT count(*) FROM bridge_delivery d
                         WHERE {is_mine} AND d.lease_token IS NOT NULL AND d.kind IN ({kinds})
                           AND d.next_attempt_at > clock_timestamp()),
        CASE WHEN b.backoff_until > clock_timestamp() THEN 0
             WHEN b.is_open THEN (c.id IN (SELECT owner_id FROM probe))::int ELSE %(in_flight)s END,
        (SELECT min(least(r.burst, r.burst + floor(extract(epoch FROM clock_timestamp() - r.met_at) / r.every)))
         FROM bridge_ratelimit r
         WHERE {is_limit} AND r.whole_channel
           AND r.met_at > clock_timestamp() - make_interval(secs => %(bucket_idle)s))) AS free_slots
    FROM owner JOIN {table} c ON c.id = owner.id LEFT JOIN bridge_circuitbreaker b ON b.{column}_id = c.id
    WHERE {may_send}
), destination AS (
    SELECT id, least(free_slots, ceil(%(limit)s::numeric / count(*) OVER ())) AS free_slots
    FROM available WHERE free_slots > 0
), due AS (
    SELECT head.id, head.previous_state FROM destination c, LATERAL (
        SELECT next.* FROM (VALUES {lines}) AS line(kind, priority), LATERAL (
            SELECT d.id, d.state AS previous_state, d.priority, d.next_attempt_at FROM bridge_delivery d
            WHERE {is_candidate} AND d.kind IN ({kinds}) AND d.priority = line.priority
              AND {is_due} AND d.next_attempt_at <= (SELECT clock_timestamp())
              AND {is_head}
            ORDER BY d.next_attempt_at, d.id LIMIT c.free_slots
            FOR UPDATE OF d SKIP LOCKED
        ) next ORDER BY next.priority, next.next_attempt_at, next.id LIMIT c.free_slots
    ) head LIMIT %(limit)s
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due
WHERE d.id = due.id AND due.previous_state NOT IN ({finished}) AND (SELECT set_config(
    'synchronous_commit', CASE WHEN %(is_durable)s THEN current_setting('synchronous_commit') ELSE 'off' END, TRUE
)) IS NOT NULL
RETURNING {delivery}, due.previous_state
"""

HEAD_SQL = """d.id = (
                  SELECT min(queued.id) FROM bridge_delivery queued
                  WHERE queued.api_channel_id = d.api_channel_id AND queued.conversation_id = d.conversation_id
                    AND queued.kind = d.kind AND queued.state IN ('pending', 'sending'){same_message})"""
SAME_MESSAGE_SQL = " AND queued.message_id IS NOT DISTINCT FROM d.message_id"

# The first unfinished delivery of each conversation: one index lookup each. After an outage, a few conversations can
# have tens of thousands of deliveries. Their heads have been tried, so they are due last, and a claim that goes through
# the deliveries in order reads them all.
HEADS_SQL = """WITH RECURSIVE queued AS (
        ({first})
        UNION ALL
        SELECT following.* FROM queued, LATERAL ({following}) following
    ) SELECT id FROM queued"""
FIRST_SQL = """SELECT q.conversation_id, q.id FROM bridge_delivery q
    WHERE q.api_channel_id = c.id AND q.kind = line.kind AND q.state IN ('pending', 'sending'){after}
    ORDER BY q.conversation_id, q.id LIMIT 1"""
FOLLOWING_SQL = FIRST_SQL.format(after=" AND q.conversation_id > queued.conversation_id")
# What a claim goes through. ANY(ARRAY(…)), `+ 0` and `|| ''` keep the planner from reading the line in order.
CANDIDATES_SQL = {
    "deliveries": "{is_mine} AND d.kind = line.kind",
    "heads": "d.id = ANY(ARRAY("
    + HEADS_SQL.format(first=FIRST_SQL.format(after=""), following=FOLLOWING_SQL)
    + ")) AND d.api_channel_id + 0 = c.id AND d.chat_channel_id IS NULL AND d.kind || '' = line.kind",
}
SLOW_CLAIM_SECONDS = 0.1  # a claim that takes longer and finds few deliveries has read a long queue
LONG_QUEUE_SECONDS = 30.0  # how long the next claims of these kinds go through the conversations

# Limits that became free a moment ago count: the claim may have run just before.
ANY_RECENT_LIMIT_SQL = """
SELECT EXISTS (SELECT 1 FROM bridge_ratelimit r
               WHERE r.whole_channel AND r.met_at > clock_timestamp() - interval '1 second')
"""
SECONDS_UNTIL_FREE_SQL = """
SELECT extract(epoch FROM min(r.met_at - make_interval(secs => (r.burst - 1) * r.every)) - clock_timestamp())::float8
FROM unnest(%(ids)s::bigint[], %(limit_keys)s::text[]) AS owner(id, limit_key), bridge_ratelimit r
WHERE {is_limit} AND r.whole_channel AND r.met_at > clock_timestamp() - interval '1 second'
"""


@cache
def build_statement(
    template: str, column: str, kinds: tuple[str, ...], *, poison: bool = False, candidates: str = "deliveries"
) -> str:
    """Fill in a statement for one kind of destination, and for poison messages or all others."""
    table, may_send = DESTINATIONS[column]
    columns = list(DESTINATIONS)
    others = "".join(f" AND d.{other}_id IS NULL" for other in columns[: columns.index(column)])
    is_limit, destination = "r.api_channel_id = owner.id", "d.api_channel_id"
    if column != "api_channel":
        is_limit = "r.api_channel_id IS NULL AND r.key = owner.limit_key"
        destination = "coalesce(d.chat_channel_id, 0)" if column == "chat_channel" else f"d.{column}_id"
    finished = ", ".join(f"'{state}'" for state in Delivery.FINISHED)
    names = {
        "column": column,
        "table": table,
        "may_send": may_send,
        "is_mine": f"{destination} = c.id{others}",
        "poison": str(poison).upper(),
        "is_due": (IS_POISON if poison else IS_ORDINARY).format(finished=finished, most=MAX_WORKER_CRASHES),
        "is_limit": is_limit,
        "delivery": DELIVERY.columns,
        "kinds": ", ".join(f"'{kind}'" for kind in kinds),
        "is_candidate": CANDIDATES_SQL[candidates].format(is_mine=f"{destination} = c.id{others}"),
        "finished": finished,
    }
    # Reactions to different messages have no order among them.
    head = HEAD_SQL.format(same_message=SAME_MESSAGE_SQL if kinds == (Delivery.Kind.REACTION,) else "")
    names["is_head"] = head if column != "alert_route" else "TRUE"  # a route sends one message at a time
    lines = [(kind, priority) for kind in kinds for priority in Delivery.Priority.values]
    names["lines"] = ", ".join(f"('{kind}', {priority})" for kind, priority in lines)
    return template.format(**names)


def find_destinations(
    policies: Sequence[DestinationPolicy], *, poison: bool = False, slack: float = 0
) -> dict[DestinationPolicy, list[int]]:
    """Return the destinations that have something due, or due in `slack` seconds, in the order of the policies."""
    template = POISON_SQL if poison else DUE_SQL
    kinds: dict[str, tuple[str, ...]] = {}
    for policy in policies:
        kinds[policy.column] = (*kinds.get(policy.column, ()), *policy.kinds)
    statements = [build_statement(template, column, those, poison=poison) for column, those in kinds.items()]
    found: dict[DestinationPolicy, list[int]] = {}
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, " UNION ALL ".join(statements), {"slack": slack})
        rows = cursor.fetchall()
    for policy in policies:
        ids = sorted({pk for kind, pk in rows if kind in policy.kinds})
        if ids:
            found[policy] = ids
    return found


class LongQueues:
    """Kinds of deliveries of which few conversations have very many, as the claims of this process have noticed."""

    def __init__(self) -> None:
        self.until: dict[tuple[str, ...], float] = {}

    def note(self, policy: DestinationPolicy) -> None:
        """Note a claim that was slow and found few deliveries. If it went through the conversations, go back."""
        is_ordinary = self.choose_candidates(policy) == "deliveries"
        self.until[policy.kinds] = time.monotonic() + LONG_QUEUE_SECONDS if is_ordinary else 0.0

    def choose_candidates(self, policy: DestinationPolicy) -> str:
        """Return what the claim goes through. Reactions have lines by message, helpdesks and alerts short queues."""
        has_conversations = policy.column == "api_channel" and Delivery.Kind.REACTION not in policy.kinds
        is_long = has_conversations and self.until.get(policy.kinds, 0.0) > time.monotonic()
        return "heads" if is_long else "deliveries"


long_queues = LongQueues()


def claim_deliveries(
    policy: DestinationPolicy,
    token: uuid.UUID,
    *,
    limit: int,
    poison: bool = False,
    ids: Sequence[int] | None = None,
) -> list[ClaimedDelivery]:
    """Lease up to `limit` due deliveries under `token`: poison messages, or all others. Commits before it returns.

    `ids`: the destinations that `find_destinations` has found; None: look for them.
    """
    if limit <= 0:
        return []
    if ids is None:
        ids = find_destinations([policy], poison=poison).get(policy, [])
    keys = policy.find_limit_keys(ids) if ids else {}
    if not keys:
        return []
    values: dict[str, Any] = {"limit": limit}
    values |= {"ids": list(keys), "limit_keys": list(keys.values()), "token": token, "lease": LEASE_SECONDS}
    values |= {"in_flight": policy.in_flight, "probe_seconds": circuit_breaker.PROBE_SECONDS}
    values["bucket_idle"] = rate_limits.BUCKET_IDLE_SECONDS
    values["is_durable"] = policy.claims_durably
    candidates = "deliveries" if poison else long_queues.choose_candidates(policy)
    started = time.monotonic()
    with connection.cursor() as cursor:
        statement = build_statement(CLAIM_SQL, policy.column, policy.kinds, poison=poison, candidates=candidates)
        prepared_statements.execute(cursor, statement, values)
        claimed = [
            ClaimedDelivery(
                policy=policy, delivery=DELIVERY.read(row[:-1]), interrupted=row[-1] == Delivery.State.SENDING
            )
            for row in cursor.fetchall()
        ]
    if not poison and len(claimed) < limit and time.monotonic() - started > SLOW_CLAIM_SECONDS:
        long_queues.note(policy)
    return sorted(claimed, key=lambda item: item.delivery.pk)


def get_seconds_until_free(policies: Sequence[DestinationPolicy]) -> float | None:
    """Return seconds until the first destination at its own limit may get a call again, or None."""
    waits = []
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, ANY_RECENT_LIMIT_SQL)
        if not cursor.fetchone()[0]:
            return None
        for policy, ids in find_destinations(policies, slack=1).items():
            keys = policy.find_limit_keys(ids)
            values: dict[str, Any] = {"ids": list(keys), "limit_keys": list(keys.values())}
            cursor.execute(build_statement(SECONDS_UNTIL_FREE_SQL, policy.column, policy.kinds), values)
            waits.append(cursor.fetchone()[0])
    return min((max(seconds, 0.0) for seconds in waits if seconds is not None), default=None)
