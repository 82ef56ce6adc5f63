"""Circuit breaker per destination: while it is open, messages wait instead of using up their attempts.

One row per API channel in PostgreSQL, shared by all workers. It opens after 10 consecutive failures, or when 70 % of at
least 10 attempts within 5 minutes failed. After 30 seconds one probe is sent. A failed probe doubles the time to the
next one, up to 10 minutes; a successful one closes the breaker. Only failures of the destination count (no connection,
5xx, no answer), not rejected messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import QuerySet

from bridge import outcomes, service_window
from bridge.models import Alert, CircuitBreaker, Delivery

from . import alerts

FAILURES_TO_OPEN = 10
FAILURE_SHARE, MIN_SAMPLES, SAMPLE_INTERVAL = 0.7, 10, timedelta(minutes=5)
FIRST_BACKOFF, MAX_BACKOFF = 30, 600  # seconds
MAX_RETRIED_NOW = 10_000  # the rest of a longer queue follows its retry schedule
PROBE_SECONDS = 60  # a probe is given up after this if its worker died; equals the lease


# First part of the claim (`claims`): channels whose open breaker lets one delivery through now, each in exactly one
# claim; none if `probes` is false. Locked rows are skipped: waiting for them would break the lock order and deadlock.
PROBE_SQL = """
    WITH due AS MATERIALIZED (
        SELECT api_channel_id FROM bridge_circuitbreaker b
        WHERE is_open AND %(probes)s AND probe_at <= clock_timestamp() AND clock_timestamp() >= (
            SELECT min(d.next_attempt_at) FROM bridge_delivery d
            WHERE d.api_channel_id = b.api_channel_id AND d.chat_channel_id IS NULL
              AND d.state IN ('pending', 'sending'))
        FOR NO KEY UPDATE OF b SKIP LOCKED)
    UPDATE bridge_circuitbreaker
    SET is_probing = TRUE, probe_at = clock_timestamp() + make_interval(secs => %(probe_seconds)s)
    FROM due WHERE bridge_circuitbreaker.api_channel_id = due.api_channel_id
    RETURNING bridge_circuitbreaker.api_channel_id
"""


@transaction.atomic(savepoint=False)
def record_outcomes(results: Iterable[tuple[int, bool]]) -> set[int]:
    """Record pairs of API channel ID and whether the destination worked. Return the channels whose breaker opened.

    Writes only if something is or was wrong.
    """
    by_channel: dict[int, list[bool]] = {}
    for channel_id, worked in results:
        by_channel.setdefault(channel_id, []).append(worked)
    if all(worked for successes in by_channel.values() for worked in successes) and not _has_any_breaker(by_channel):
        return set()
    breakers = {row.api_channel_id: row for row in lock_breakers(by_channel)}
    now, opened = service_window.database_now(), set()
    for channel_id, successes in sorted(by_channel.items()):
        row = breakers.get(channel_id)
        if row is None:
            if all(successes):
                continue
            CircuitBreaker.objects.bulk_create([CircuitBreaker(api_channel_id=channel_id)], ignore_conflicts=True)
            (row,) = lock_breakers([channel_id])  # created here, or by another worker at the same time
        if not row.is_troubled and all(successes):
            continue
        was_open = row.is_open
        for worked in successes:
            _count_outcome(row, worked, now=now)
        row.save()
        if row.is_open and not was_open:
            opened.add(channel_id)
    return opened


def _has_any_breaker(channel_ids: Iterable[int]) -> bool:
    with connection.cursor() as cursor:  # plain SQL as in ``service_window``: runs after every success
        cursor.execute(
            "SELECT 1 FROM bridge_circuitbreaker WHERE api_channel_id = ANY(%s) LIMIT 1", [list(channel_ids)]
        )
        return cursor.fetchone() is not None


def lock_breakers(channel_ids: Iterable[int]) -> list[CircuitBreaker]:
    """Lock these channels' rows until the transaction ends, in one order for all workers, to avoid deadlocks."""
    rows = CircuitBreaker.objects.select_for_update(no_key=True).filter(api_channel__in=set(channel_ids))
    return list(rows.order_by("pk"))


def start_backoff(channel_id: int, *, seconds: float) -> None:
    """Hold back all sending to a channel for some time, because the provider asked for it."""
    until = service_window.database_now() + timedelta(seconds=seconds)
    CircuitBreaker.objects.update_or_create(api_channel_id=channel_id, defaults={"backoff_until": until})


def find_waiting_deliveries(channel_id: int, *, now: datetime) -> QuerySet[Delivery]:
    """Return deliveries waiting for a retry because the destination failed, soonest first."""
    failed = Delivery.objects.filter(
        api_channel=channel_id, chat_channel=None, state=Delivery.State.PENDING, reason__in=outcomes.RETRYABLE_CODES
    )
    return failed.filter(next_attempt_at__gt=now).order_by("next_attempt_at")


def retry_waiting_now(channel_id: int) -> int:
    """Make waiting retries, or the probe of an open breaker, due now. Return how many were waiting.

    Called when an admin says that the destination works again. Deliveries waiting for their contact or number keep
    their time.
    """
    now = service_window.database_now()
    with transaction.atomic():
        waiting = find_waiting_deliveries(channel_id, now=now)[:MAX_RETRIED_NOW]
        ids = list(waiting.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        Delivery.objects.filter(pk__in=ids).update(next_attempt_at=now)
    probed = CircuitBreaker.objects.filter(api_channel=channel_id, is_open=True, is_probing=False).update(probe_at=now)
    return max(len(ids), probed)


def _count_outcome(row: CircuitBreaker, worked: bool, *, now: datetime) -> None:
    row.recent = [
        [at, success] for at, success in row.recent if now.timestamp() - at < SAMPLE_INTERVAL.total_seconds()
    ][-200:]
    row.recent.append([now.timestamp(), worked])
    if worked:
        row.consecutive_failures = 0
        row.failing_since = None
        if row.is_open:
            row.is_open, row.is_probing, row.backoff_seconds, row.probe_at, row.recent = False, False, 0, None, []
            alerts.settle_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)
        return
    row.consecutive_failures += 1
    row.failing_since = row.failing_since or now
    if row.is_open:
        # Calls that were running when it opened still return: only a failed probe doubles the backoff.
        if row.is_probing:
            _open_breaker(row, min(row.backoff_seconds * 2, MAX_BACKOFF), now=now)
    elif row.consecutive_failures >= FAILURES_TO_OPEN or _is_mostly_failing(row):
        _open_breaker(row, FIRST_BACKOFF, now=now)
        alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)


def _is_mostly_failing(row: CircuitBreaker) -> bool:
    failed = sum(1 for _at, worked in row.recent if not worked)
    return len(row.recent) >= MIN_SAMPLES and failed >= FAILURE_SHARE * len(row.recent)


def _open_breaker(row: CircuitBreaker, seconds: int, *, now: datetime) -> None:
    row.is_open, row.is_probing, row.backoff_seconds = True, False, seconds
    row.probe_at = now + timedelta(seconds=seconds)
