"""Bulk resend or discard of dead letters that match a filter.

Shows counts first, runs in batches, records every decision. Only deliveries that can succeed now are resent; those with
a closed window or a paused template are skipped and counted. Deliveries that may have been sent are included only if
the admin selected that option. A batch is one transaction that locks the bulk action's row, so two workers never share
a batch and a crash leaves nothing half done.
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
PREVIEW_LIMIT = 10_000  # a preview counts at most this many rows
RUN_SECONDS = 20.0
BULK_JOBS = FailingItems("bulk resend")


@dataclass(frozen=True, kw_only=True)
class DeadLetterFilter:
    """Selection of dead letters. `since` and `until`: ISO times of creation. `ids`: the selected rows, or None."""

    states: tuple[str, ...] = resend.UNRESOLVED_STATES
    api_channel: int | None = None
    reason: str = ""
    since: str = ""
    until: str = ""
    ids: tuple[int, ...] | None = None
    include_unknown: bool = False

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> DeadLetterFilter:
        """Return the filter stored with a bulk action."""
        lists = {name: tuple(stored[name]) for name in ("states", "ids") if stored.get(name) is not None}
        return cls(**{**stored, **lists})

    def find_deliveries(self) -> QuerySet[Delivery]:
        """Return the matching deliveries in order of their IDs."""
        states = [state for state in self.states if state in DeadLetter.STATES]
        rows = Delivery.objects.filter(state__in=states, alert_route=None)  # old alerts are not sent again
        if self.ids is not None:
            rows = rows.filter(pk__in=self.ids)
        if self.api_channel is not None:
            rows = rows.filter(api_channel=self.api_channel)
        if self.reason:
            rows = rows.filter(reason=self.reason)
        if self.since:
            rows = rows.filter(created_at__gte=parse_datetime(self.since))
        if self.until:
            rows = rows.filter(created_at__lt=parse_datetime(self.until))
        return rows.order_by("pk").select_related("message", "api_channel").defer("payload")


@dataclass(frozen=True, kw_only=True)
class BulkPreview:
    """Preview of a bulk action. `counts`: outcome code (empty: it would be sent) → number of deliveries."""

    counts: Mapping[str, int]
    checked: int
    is_all: bool  # False if there are more rows than were counted

    def count_resent(self, *, include_unknown: bool) -> int:
        """Return how many deliveries a resend would queue."""
        return sum(
            count for code, count in self.counts.items() if _will_be_resent(code, include_unknown=include_unknown)
        )


def preview_bulk_action(chosen: DeadLetterFilter) -> BulkPreview:
    """Count what resending the matching dead letters would do, up to PREVIEW_LIMIT rows."""
    counts: Counter[str] = Counter()
    checked, is_all = 0, True
    for batch in _iterate_batches(chosen.find_deliveries()):
        if checked >= PREVIEW_LIMIT:
            is_all = False
            break
        counts.update(preview.code for preview in resend.preview_resend(batch))
        checked += len(batch)
    return BulkPreview(counts=dict(counts), checked=checked, is_all=is_all)


def _iterate_batches(rows: QuerySet[Delivery]) -> Iterator[list[Delivery]]:
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _will_be_resent(code: str, *, include_unknown: bool) -> bool:
    return code in ("", *resend.DELAYED_CODES) or (code == "possible_duplicate" and include_unknown)


def start_bulk_action(chosen: DeadLetterFilter, *, action: str, by: Any) -> BulkAction:
    """Store a bulk action. Deliveries that fail later are not included."""
    newest = chosen.find_deliveries().order_by("-pk").values_list("pk", flat=True).first() or 0
    return BulkAction.objects.create(
        action=action,
        selection=asdict(chosen),
        by=by,
        total=chosen.find_deliveries().order_by().count(),
        last_delivery_id=newest,
    )


def run_bulk_actions(*, seconds: float = RUN_SECONDS, only: int | None = None) -> int:
    """Run batches until nothing is left or the time is over. Return how many deliveries were handled."""
    until, total = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        count = _run_batch(only) if only is not None else _run_next_batch()
        if count is None:
            break
        total += count
    return total


def _run_next_batch() -> int | None:
    """Run one batch of the oldest bulk action that no other worker holds. Return None if there is none."""
    waiting = BulkAction.objects.filter(finished_at=None).exclude(pk__in=BULK_JOBS.items_in_backoff()).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)):
        with BULK_JOBS.isolate(pk):
            if (count := _run_batch(pk)) is not None:
                return count
    return None


@transaction.atomic
def _run_batch(job_id: int) -> int | None:
    """Run one batch of this bulk action. Return None if it is finished or another worker holds it."""
    waiting = BulkAction.objects.select_for_update(skip_locked=True, no_key=True).filter(finished_at=None)
    job = waiting.filter(pk=job_id).first()
    if job is None:
        return None
    chosen = DeadLetterFilter.from_json(job.selection)
    batch = list(chosen.find_deliveries().filter(pk__gt=job.processed_up_to_id, pk__lte=job.last_delivery_id)[:BATCH])
    if job.action == BulkAction.Action.DISCARD:
        job.done += resend.discard_deliveries(*(row.pk for row in batch), by=job.by, bulk_action=job)
    else:
        _resend_batch(job, batch, include_unknown=chosen.include_unknown)
    if len(batch) < BATCH:
        job.finished_at = timezone.now()
    else:
        job.processed_up_to_id = batch[-1].pk
    job.save(update_fields=["done", "skipped", "processed_up_to_id", "finished_at"])
    return len(batch)


def _resend_batch(job: BulkAction, batch: list[Delivery], *, include_unknown: bool) -> None:
    previews = resend.preview_resend(batch)
    to_resend = [item.delivery.pk for item in previews if _will_be_resent(item.code, include_unknown=include_unknown)]
    skipped = Counter(item.code for item in previews if not _will_be_resent(item.code, include_unknown=include_unknown))
    job.done += resend.resend_deliveries(*to_resend, by=job.by, bulk_action=job)
    job.skipped = dict(Counter(job.skipped) + skipped)
