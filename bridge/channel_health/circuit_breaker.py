"""Circuit breaker per destination: while it is open, messages wait instead of using up their attempts.

One row per destination in PostgreSQL, shared by all workers. It opens after some consecutive failures, or when 70 % of
at least 10 attempts within 5 minutes failed. After a backoff one probe is sent. A failed probe doubles the time to the
next one; a successful one closes the breaker. Only failures of the destination count (no connection, 5xx, no answer),
not rejected messages.

`column` names the destination: "api_channel", "chat_channel" or "alert_route".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from bridge import outcomes, service_window
from bridge.models import Alert, CircuitBreaker, Delivery

from . import alerts


@dataclass(frozen=True, kw_only=True)
class BreakerFigures:
    """When a breaker opens, and the seconds to its first probe and at most between two."""

    failures_to_open: int
    first_backoff: int
    max_backoff: int


API_CHANNEL_FIGURES = BreakerFigures(failures_to_open=10, first_backoff=30, max_backoff=600)
HELPDESK_FIGURES = BreakerFigures(failures_to_open=3, first_backoff=5, max_backoff=300)
FAILURE_SHARE, MIN_SAMPLES, SAMPLE_INTERVAL = 0.7, 10, timedelta(minutes=5)
MAX_RETRIED_NOW = 10_000  # the rest of a longer queue follows its retry schedule
PROBE_SECONDS = 60  # a probe is given up after this if its worker died; equals the lease


@transaction.atomic(savepoint=False)
def record_outcomes(column: str, results: Iterable[tuple[int, bool]], *, figures: BreakerFigures) -> set[int]:
    """Record pairs of destination ID and whether it worked. Return the destinations whose breaker opened.

    Writes only if something is or was wrong. Not needed after successes if no breaker has counted a failure.
    """
    by_destination: dict[int, list[bool]] = {}
    for pk, worked in results:
        by_destination.setdefault(pk, []).append(worked)
    breakers = {getattr(row, f"{column}_id"): row for row in lock_breakers(column, by_destination)}
    now, opened = service_window.database_now(), set()
    for pk, successes in sorted(by_destination.items()):
        row = breakers.get(pk)
        if row is None:
            if all(successes):
                continue
            CircuitBreaker.objects.bulk_create([CircuitBreaker(**{f"{column}_id": pk})], ignore_conflicts=True)
            (row,) = lock_breakers(column, [pk])  # created here, or by another worker at the same time
        if not row.is_troubled and all(successes):
            continue
        was_open = row.is_open
        for worked in successes:
            _count_outcome(row, worked, figures=figures, now=now)
        row.save()
        if row.is_open and not was_open:
            opened.add(pk)
    return opened


def lock_breakers(column: str, ids: Iterable[int]) -> list[CircuitBreaker]:
    """Lock these destinations' rows until the transaction ends, in one order for all workers, to avoid deadlocks."""
    rows = CircuitBreaker.objects.select_for_update(no_key=True).filter(**{f"{column}__in": set(ids)})
    return list(rows.order_by("pk"))


def start_backoff(column: str, pk: int, *, seconds: float) -> None:
    """Hold back all sending to a destination for some time, because it asked for it."""
    until = service_window.database_now() + timedelta(seconds=seconds)
    destination: dict[str, Any] = {f"{column}_id": pk}
    CircuitBreaker.objects.update_or_create(**destination, defaults={"backoff_until": until})


def reset_breakers(column: str, ids: Collection[int]) -> None:
    """Forget the failures of destinations whose settings changed."""
    CircuitBreaker.objects.filter(**{f"{column}__in": ids}).update(
        is_open=False,
        is_probing=False,
        backoff_seconds=0,
        probe_at=None,
        consecutive_failures=0,
        failing_since=None,
        recent=[],
        backoff_until=None,
    )


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


def _count_outcome(row: CircuitBreaker, worked: bool, *, figures: BreakerFigures, now: datetime) -> None:
    row.recent = [
        [at, success] for at, success in row.recent if now.timestamp() - at < SAMPLE_INTERVAL.total_seconds()
    ][-200:]
    row.recent.append([now.timestamp(), worked])
    if worked:
        row.consecutive_failures = 0
        row.failing_since = None
        if row.is_open:
            row.is_open, row.is_probing, row.backoff_seconds, row.probe_at, row.recent = False, False, 0, None, []
            _settle_alert(row)
        if all(success for _at, success in row.recent):
            row.recent = []  # healthy again: further successes write nothing
        return
    row.consecutive_failures += 1
    row.failing_since = row.failing_since or now
    if row.is_open:
        # Calls that were running when it opened still return: only a failed probe doubles the backoff.
        if row.is_probing:
            _open_breaker(row, min(row.backoff_seconds * 2, figures.max_backoff), now=now)
    elif row.consecutive_failures >= figures.failures_to_open or _is_mostly_failing(row):
        _open_breaker(row, figures.first_backoff, now=now)
        _raise_alert(row)


def _raise_alert(row: CircuitBreaker) -> None:
    """Raise the alert of a destination that is down. Alert routes have one of their own, by attempts."""
    if row.api_channel_id:
        alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)
    elif row.chat_channel is not None:
        subject = str(row.chat_channel_id)
        alerts.raise_alert(Alert.Kind.HELPDESK_DOWN, subject=subject, name=row.chat_channel.name)


def _settle_alert(row: CircuitBreaker) -> None:
    if row.api_channel_id:
        alerts.settle_alert(Alert.Kind.BREAKER, api_channel_id=row.api_channel_id)
    elif row.chat_channel_id:
        alerts.settle_alert(Alert.Kind.HELPDESK_DOWN, subject=str(row.chat_channel_id))


def _is_mostly_failing(row: CircuitBreaker) -> bool:
    failed = sum(1 for _at, worked in row.recent if not worked)
    return len(row.recent) >= MIN_SAMPLES and failed >= FAILURE_SHARE * len(row.recent)


def _open_breaker(row: CircuitBreaker, seconds: int, *, now: datetime) -> None:
    row.is_open, row.is_probing, row.backoff_seconds = True, False, seconds
    row.probe_at = now + timedelta(seconds=seconds)
