"""Bulk resend or discard of dead letters that match a filter.

Shows counts first, runs in batches, records every decision. Only deliveries that can succeed now are resent; those with
a closed window or a paused template are skipped and counted. Deliveries that may have been sent are included only if
the admin ticked that. A batch is one transaction with the bulk action's row locked, so two workers never share a batch
and a crash leaves nothing half done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bridge.models import BulkAction, DeadLetter, Delivery
from channels_setup.failing_items import FailingItems

from . import resend

BATCH = 200
PREVIEW_LIMIT = 10_000  # a preview counts no more rows than this, and says so
RUN_SECONDS = 20.0
BULK_JOBS = FailingItems("bulk resend")


@dataclass(frozen=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters to act on. `since` and `until` are ISO times of creation; `ids` are the ticked rows, or
    None.
    """

    states: tuple[str, ...] = resend.UNRESOLVED_STATES
    api_channel: int | None = None
    reason: str = ""
    since: str = ""
    until: str = ""
    ids: tuple[int, ...] | None = None
    unknown_too: bool = False

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> DeadLetterFilter:
        lists = {name: tuple(stored[name]) for name in ("states", "ids") if stored.get(name) is not None}
        return cls(**{**stored, **lists})

    def rows(self) -> QuerySet[Delivery]:
        found = Delivery.objects.filter(state__in=[state for state in self.states if state in DeadLetter.STATES])
        if self.ids is not None:
            found = found.filter(pk__in=self.ids)
        if self.api_channel is not None:
            found = found.filter(api_channel=self.api_channel)
        if self.reason:
            found = found.filter(reason=self.reason)
        if self.since:
            found = found.filter(created_at__gte=parse_datetime(self.since))
        if self.until:
            found = found.filter(created_at__lt=parse_datetime(self.until))
        return found.order_by("pk").select_related("message", "api_channel").defer("payload")


@dataclass(frozen=True, kw_only=True)
class BulkPreview:
    """What a bulk action would do now: outcome code (empty: it would be sent) → count."""

    counts: Mapping[str, int]
    looked_at: int
    is_all: bool  # False if there are more rows than were counted

    def goes(self, *, unknown_too: bool) -> int:
        return sum(count for code, count in self.counts.items() if _will_be_resent(code, unknown_too=unknown_too))


def preview_bulk_action(chosen: DeadLetterFilter) -> BulkPreview:
    """Count what resending the matching dead letters would do, up to PREVIEW_LIMIT rows."""
    counts: Counter[str] = Counter()
    looked_at, is_all = 0, True
    for batch in _iterate_batches(chosen.rows()):
        if looked_at >= PREVIEW_LIMIT:
            is_all = False
            break
        counts.update(judged.code for judged in resend.preview_resend(batch))
        looked_at += len(batch)
    return BulkPreview(counts=dict(counts), looked_at=looked_at, is_all=is_all)


def _iterate_batches(rows: QuerySet[Delivery]) -> Iterator[list[Delivery]]:
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _will_be_resent(code: str, *, unknown_too: bool) -> bool:
    return code in ("", *resend.DELAYED_CODES) or (code == "possible_duplicate" and unknown_too)


def start_bulk_action(chosen: DeadLetterFilter, *, what: str, by: Any) -> BulkAction:
    """Store a bulk action. Deliveries that fail later are not included."""
    newest = chosen.rows().order_by("-pk").values_list("pk", flat=True).first() or 0
    return BulkAction.objects.create(
        what=what, chosen=asdict(chosen), by=by, total=chosen.rows().order_by().count(), last=newest
    )


def run_bulk_actions(*, seconds: float = RUN_SECONDS, only: int | None = None) -> int:
    """Run batches until nothing is left or the time is over. Return how many deliveries were handled."""
    until, done = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        had = _run_batch(only) if only is not None else _run_next_batch()
        if had is None:
            break
        done += had
    return done


def _run_next_batch() -> int | None:
    """Run one batch of the oldest bulk action that no other worker holds. Return None if there is none."""
    waiting = BulkAction.objects.filter(finished_at=None).exclude(pk__in=BULK_JOBS.items_in_backoff()).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)):
        with BULK_JOBS.isolate(pk):
            if (had := _run_batch(pk)) is not None:
                return had
    return None


@transaction.atomic
def _run_batch(job_id: int) -> int | None:
    """Run one batch of this bulk action. Return None if it is finished or another worker holds it."""
    waiting = BulkAction.objects.select_for_update(skip_locked=True, no_key=True).filter(finished_at=None)
    job = waiting.filter(pk=job_id).first()
    if job is None:
        return None
    chosen = DeadLetterFilter.of(job.chosen)
    batch = list(chosen.rows().filter(pk__gt=job.reached, pk__lte=job.last)[:BATCH])
    if job.what == BulkAction.What.DISCARD:
        job.done += resend.discard_deliveries(*(row.pk for row in batch), by=job.by, many=job)
    else:
        _resend_batch(job, batch, unknown_too=chosen.unknown_too)
    if len(batch) < BATCH:
        job.finished_at = timezone.now()
    else:
        job.reached = batch[-1].pk
    job.save(update_fields=["done", "skipped", "reached", "finished_at"])
    return len(batch)


def _resend_batch(job: BulkAction, batch: list[Delivery], *, unknown_too: bool) -> None:
    judged = resend.preview_resend(batch)
    gets_on = [item.delivery.pk for item in judged if _will_be_resent(item.code, unknown_too=unknown_too)]
    kept = Counter(item.code for item in judged if not _will_be_resent(item.code, unknown_too=unknown_too))
    job.done += resend.resend_deliveries(*gets_on, by=job.by, many=job)
    job.skipped = dict(Counter(job.skipped) + kept)
