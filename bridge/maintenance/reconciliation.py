"""Reconciliation: find, show and settle messages whose status differs between the portal and the provider.

A message's status (what the operator sees) and its delivery and provider statuses are recorded by different steps at
different times. Each kind of mismatch is one query; new matches become a `Mismatch`, and one that no longer matches is
settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import alerts
from bridge.models import Delivery, Message, Mismatch, StrayStatus
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel, ChannelState

SEARCH_INTERVAL = timedelta(days=8)  # age of messages that are searched for mismatches
MAX_MISMATCH_AGE = timedelta(days=30)  # older mismatches are settled
SETTLING_TIME = timedelta(minutes=10)  # time for running transactions to finish
STRAY_AGE = timedelta(days=7)
MAX_NEW_MISMATCHES = 1_000  # new mismatches per kind and run

RECONCILIATION_STEPS = FailingItems("reconcile")
Kind = Mismatch.Kind
Status = Message.Status
ARRIVED = (Status.DELIVERED, Status.READ)


def reconcile_messages() -> int:
    """Find new mismatches and settle resolved ones. Return how many are open."""
    now = service_window.database_now()
    with RECONCILIATION_STEPS.isolate("proof"):
        _apply_proof()
    for kind, messages in _build_mismatch_queries(now).items():
        with RECONCILIATION_STEPS.isolate(kind):
            _settle_resolved_messages(kind, messages.filter(created_at__gte=now - MAX_MISMATCH_AGE))
            _record_mismatched_messages(kind, messages.filter(created_at__gte=now - SEARCH_INTERVAL))
    with RECONCILIATION_STEPS.isolate("strays"):
        _reconcile_strays(now)
    _update_alerts()
    return Mismatch.objects.filter(settled_at=None).count()


def _apply_proof() -> None:
    """Mark dead or unknown deliveries as delivered if the provider reports that the message arrived."""
    arrived = Delivery.objects.filter(
        state__in=[Delivery.State.DEAD, Delivery.State.UNKNOWN],
        kind=Delivery.Kind.MESSAGE,
        message__status__in=ARRIVED,
    )
    arrived.update(state=Delivery.State.DELIVERED, reason="")


def _build_mismatch_queries(now: datetime) -> dict[str, QuerySet[Message]]:
    grace_period = timedelta(hours=settings.MISMATCH_AFTER_HOURS)
    outbound = Message.objects.filter(direction=Message.Direction.OUTBOUND)
    deliveries = Delivery.objects.filter(message=OuterRef("pk"), kind=Delivery.Kind.MESSAGE)
    unsent = outbound.filter(status__in=[Status.PENDING, Status.SENDING])
    return {
        # A paused channel holds its messages on purpose.
        Kind.NOT_SENT: unsent.filter(Exists(deliveries), created_at__lte=now - grace_period).exclude(
            api_channel__state=ChannelState.PAUSED
        ),
        Kind.NO_DELIVERY: unsent.filter(~Exists(deliveries), created_at__lte=now - SETTLING_TIME),
        Kind.MARKED_SENT: outbound.filter(
            Exists(deliveries.filter(state__in=[Delivery.State.DEAD, Delivery.State.CANCELLED])),
            status=Status.SENT,
        ),
        Kind.UNCONFIRMED: outbound.filter(
            status=Status.SENT,
            status_at__lte=now - grace_period,
            api_channel__in=_find_reporting_channels(outbound, now=now),
        ),
    }


def _find_reporting_channels(outbound: QuerySet[Message], *, now: datetime) -> list[int]:
    """Return channels whose provider reports statuses and has done so: only there is a missing status meaningful."""
    reporting = [channel for channel in ApiChannel.objects.unarchived() if channel.provider.reports_status]
    confirmed = outbound.filter(status__in=ARRIVED, created_at__gte=now - SEARCH_INTERVAL)
    return [channel.pk for channel in reporting if confirmed.filter(api_channel=channel).exists()]


def _settle_resolved_messages(kind: str, messages: QuerySet[Message]) -> None:
    open_mismatches = Mismatch.objects.filter(kind=kind, settled_at=None)
    current = messages.filter(pk__in=open_mismatches.values("message"))
    open_mismatches.exclude(message__in=current.values("pk")).update(settled_at=timezone.now())


def _record_mismatched_messages(kind: str, messages: QuerySet[Message]) -> None:
    recorded = Mismatch.objects.filter(kind=kind, settled_at=None, message=OuterRef("pk"))
    rows = messages.filter(~Exists(recorded)).order_by("pk")
    _save_mismatches(
        Mismatch(
            kind=kind,
            api_channel_id=message.api_channel_id,
            conversation_id=message.conversation_id,
            message=message,
            external_id=message.external_id,
            since=message.status_at or message.created_at,
        )
        for message in rows[:MAX_NEW_MISMATCHES]
    )


def _reconcile_strays(now: datetime) -> None:
    """Record statuses that have waited a week for their message."""
    old = StrayStatus.objects.filter(received_at__lte=now - STRAY_AGE)
    open_mismatches = Mismatch.objects.filter(kind=Kind.STRAY, settled_at=None)
    open_mismatches.exclude(stray__in=old.values("pk")).update(settled_at=timezone.now())
    recorded = open_mismatches.filter(stray=OuterRef("pk"))
    _save_mismatches(
        Mismatch(
            kind=Kind.STRAY,
            api_channel_id=stray.api_channel_id,
            stray=stray.pk,
            external_id=stray.external_id,
            since=stray.received_at,
        )
        for stray in old.filter(~Exists(recorded)).order_by("pk")[:MAX_NEW_MISMATCHES]
    )


@transaction.atomic
def _save_mismatches(rows: Iterable[Mismatch]) -> None:
    Mismatch.objects.bulk_create(rows, ignore_conflicts=True)  # of two concurrent runs, one records it


def _update_alerts() -> None:
    """Raise or settle two alerts per channel: missing statuses, and all other mismatches."""
    is_unconfirmed = Q(kind=Kind.UNCONFIRMED)
    for alert, condition in ((alerts.Kind.UNCONFIRMED, is_unconfirmed), (alerts.Kind.MISMATCH, ~is_unconfirmed)):
        rows = Mismatch.objects.filter(condition, settled_at=None).order_by()
        counts = dict(rows.values_list("api_channel").annotate(Count("pk")))
        for channel_id in ApiChannel.objects.unarchived().values_list("pk", flat=True):
            with RECONCILIATION_STEPS.isolate((alert, channel_id)):
                if count := counts.get(channel_id):
                    alerts.raise_alert(
                        alert, api_channel_id=channel_id, count=count, hours=settings.MISMATCH_AFTER_HOURS
                    )
                else:
                    alerts.settle_alert(alert, api_channel_id=channel_id)
