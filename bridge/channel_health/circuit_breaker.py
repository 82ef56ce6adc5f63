"""The breaker of a destination: while it is down, messages wait instead of being burned through their attempts.

A row per API channel in PostgreSQL, shared by all workers. It opens after 10 failures in a row, or when 70 % of at
least 10 tries within 5 minutes failed; 30 seconds later one probe goes out. A probe that fails doubles the pause, to
10 minutes at most; one that succeeds shuts the breaker. What counts is a failure of the destination (no connection,
5xx, no answer), never its opinion of one message.
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
FIRST_PAUSE, LONGEST_PAUSE = 30, 600  # seconds
MAX_RETRIED_NOW = 10_000  # of a longer queue the rest follows by its own timetable
PROBE_SECONDS = 60  # a probe whose worker died is given up after this: as long as a lease


# API channels whose open breaker lets one waiting delivery through now, each to exactly one claim (``dispatcher``), of
# which this is the first part. Nobody's where ``probes`` is false. A row at which somebody else is, a claim or results
# that are being written down, is passed over and never waited for: it is locked before its turn, and that ends in a
# deadlock.
PROBE_SQL = """
    WITH ripe AS MATERIALIZED (
        SELECT api_channel_id FROM bridge_circuitbreaker b
        WHERE is_open AND %(probes)s AND probe_at <= clock_timestamp() AND clock_timestamp() >= (
            SELECT min(d.next_attempt_at) FROM bridge_delivery d
            WHERE d.api_channel_id = b.api_channel_id AND d.chat_channel_id IS NULL
              AND d.state IN ('pending', 'sending'))
        FOR NO KEY UPDATE OF b SKIP LOCKED)
    UPDATE bridge_circuitbreaker
    SET is_probing = TRUE, probe_at = clock_timestamp() + make_interval(secs => %(probe_seconds)s)
    FROM ripe WHERE bridge_circuitbreaker.api_channel_id = ripe.api_channel_id
    RETURNING bridge_circuitbreaker.api_channel_id
"""


@transaction.atomic(savepoint=False)
def record_outcomes(results: Iterable[tuple[int, bool]]) -> set[int]:
    """Tries came back: (API channel, did the destination work?). Writes only where something is wrong or was.

    The channels whose breaker opened with these.
    """
    by_channel: dict[int, list[bool]] = {}
    for channel_id, worked in results:
        by_channel.setdefault(channel_id, []).append(worked)
    if all(worked for worked_list in by_channel.values() for worked in worked_list) and not _any_known(by_channel):
        return set()
    known = {row.api_channel_id: row for row in lock_breakers(by_channel)}
    now, opened = service_window.database_now(), set()
    for channel_id, worked_list in sorted(by_channel.items()):
        row = known.get(channel_id)
        if row is None:
            if all(worked_list):
                continue
            CircuitBreaker.objects.bulk_create([CircuitBreaker(api_channel_id=channel_id)], ignore_conflicts=True)
            (row,) = lock_breakers([channel_id])  # ours, or another worker's of the same moment
        if not row.is_troubled and all(worked_list):
            continue
        was_open = row.is_open
        for worked in worked_list:
            _count_outcome(row, worked, now=now)
        row.save()
        if row.is_open and not was_open:
            opened.add(channel_id)
    return opened


def _any_known(channel_ids: Iterable[int]) -> bool:
    with connection.cursor() as cursor:  # plain SQL as in ``service_window``: asked after every success
        cursor.execute(
            "SELECT 1 FROM bridge_circuitbreaker WHERE api_channel_id = ANY(%s) LIMIT 1", [list(channel_ids)]
        )
        return cursor.fetchone() is not None


def lock_breakers(channel_ids: Iterable[int]) -> list[CircuitBreaker]:
    """These channels' rows until the transaction ends. In one order for all, so that no two wait for each other."""
    rows = CircuitBreaker.objects.select_for_update(no_key=True).filter(api_channel__in=set(channel_ids))
    return list(rows.order_by("pk"))


def pause_destination(channel_id: int, *, seconds: float) -> None:
    """The other side asked for quiet on the whole channel: nothing goes out for so long."""
    until = service_window.database_now() + timedelta(seconds=seconds)
    CircuitBreaker.objects.update_or_create(api_channel_id=channel_id, defaults={"paused_until": until})


def find_waiting_deliveries(channel_id: int, *, now: datetime) -> QuerySet[Delivery]:
    """What waits for another try because the destination failed, the soonest first."""
    failed = Delivery.objects.filter(
        api_channel=channel_id, chat_channel=None, state=Delivery.State.PENDING, reason__in=outcomes.RETRYABLE_CODES
    )
    return failed.filter(next_attempt_at__gt=now).order_by("next_attempt_at")


def retry_waiting_now(channel_id: int) -> int:
    """Somebody says that the destination is mended: its next tries, or the probe of an open breaker, are due now.

    How many were waiting. Those that wait for their contact or their number keep their time.
    """
    now = service_window.database_now()
    with transaction.atomic():
        later = find_waiting_deliveries(channel_id, now=now)[:MAX_RETRIED_NOW]
        ids = list(later.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        Delivery.objects.filter(pk__in=ids).update(next_attempt_at=now)
    opened = CircuitBreaker.objects.filter(api_channel=channel_id, is_open=True, is_probing=False).update(probe_at=now)
    return max(len(ids), opened)


def _count_outcome(row: CircuitBreaker, worked: bool, *, now: datetime) -> None:
    row.recent = [[at, good] for at, good in row.recent if now.timestamp() - at < SAMPLE_INTERVAL.total_seconds()][
        -200:
    ]
    row.recent.append([now.timestamp(), worked])
    if worked:
        row.consecutive_failures = 0
        row.failing_since = None
        if row.is_open:
            row.is_open, row.is_probing, row.pause_seconds, row.probe_at, row.recent = False, False, 0, None, []
            alerts.settle_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)
        return
    row.consecutive_failures += 1
    row.failing_since = row.failing_since or now
    if row.is_open:
        # Calls that were under way when it opened come back one by one: only a probe doubles the pause.
        if row.is_probing:
            _open_breaker(row, min(row.pause_seconds * 2, LONGEST_PAUSE), now=now)
    elif row.consecutive_failures >= FAILURES_TO_OPEN or _mostly_failing(row):
        _open_breaker(row, FIRST_PAUSE, now=now)
        alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)


def _mostly_failing(row: CircuitBreaker) -> bool:
    failed = sum(1 for _at, worked in row.recent if not worked)
    return len(row.recent) >= MIN_SAMPLES and failed >= FAILURE_SHARE * len(row.recent)


def _open_breaker(row: CircuitBreaker, seconds: int, *, now: datetime) -> None:
    row.is_open, row.is_probing, row.pause_seconds = True, False, seconds
    row.probe_at = now + timedelta(seconds=seconds)
