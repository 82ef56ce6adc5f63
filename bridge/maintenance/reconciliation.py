"""Reconciliation: messages on which the two sides disagree are found, shown, and settled when they agree again.

What the operator sees (the message) and what went over the wire (the delivery, the provider's statuses) are written
down by different stations at different times. Each kind of disagreement is one question to the database; what answers
it and is not known yet becomes a ``Mismatch``, and a known one that no longer answers it is over.
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

LOOKED_BACK = timedelta(days=8)  # new disagreements are looked for among messages no older than this
REMEMBERED = timedelta(days=30)  # one that stands for so long is history
AT_ONCE = timedelta(minutes=10)  # what one transaction writes must be seen whole by then
STRAY_AFTER = timedelta(days=7)
MOST = 1_000  # new ones of a kind in one run; the next run goes on

STEPS = FailingItems("reconcile")
Kind = Mismatch.Kind
Status = Message.Status
ARRIVED = (Status.DELIVERED, Status.READ)


def reconcile() -> int:
    """Look at both sides, settle what agrees, note what does not; how many mismatches stand."""
    now = service_window.database_now()
    with STEPS.isolate("proof"):
        _take_proof()
    for kind, found in _questions(now).items():
        with STEPS.isolate(kind):
            _settle_messages(kind, found.filter(created_at__gte=now - REMEMBERED))
            _note_messages(kind, found.filter(created_at__gte=now - LOOKED_BACK))
    with STEPS.isolate("strays"):
        _strays(now)
    _tell()
    return Mismatch.objects.filter(settled_at=None).count()


def _take_proof() -> None:
    """The provider says that it arrived: then the delivery that we gave up, or doubted, was made."""
    proven = Delivery.objects.filter(
        state__in=[Delivery.State.DEAD, Delivery.State.UNKNOWN],
        kind=Delivery.Kind.MESSAGE,
        message__status__in=ARRIVED,
    )
    proven.update(state=Delivery.State.DELIVERED, reason="")


def _questions(now: datetime) -> dict[str, QuerySet[Message]]:
    patience = timedelta(hours=settings.RECONCILE_HOURS)
    ours = Message.objects.filter(direction=Message.Direction.OUTBOUND)
    carried = Delivery.objects.filter(message=OuterRef("pk"), kind=Delivery.Kind.MESSAGE)
    not_out = ours.filter(status__in=[Status.PENDING, Status.SENDING])
    return {
        # A paused channel holds its messages because somebody said so.
        Kind.NOT_OUT: not_out.filter(Exists(carried), created_at__lte=now - patience).exclude(
            api_channel__state=ChannelState.PAUSED
        ),
        Kind.NO_DELIVERY: not_out.filter(~Exists(carried), created_at__lte=now - AT_ONCE),
        Kind.SAID_SENT: ours.filter(
            Exists(carried.filter(state__in=[Delivery.State.DEAD, Delivery.State.CANCELLED])),
            status=Status.SENT,
        ),
        Kind.UNCONFIRMED: ours.filter(
            status=Status.SENT, status_at__lte=now - patience, api_channel__in=_that_report(ours, now=now)
        ),
    }


def _that_report(ours: QuerySet[Message], *, now: datetime) -> list[int]:
    """Channels whose provider reports statuses and has been seen to: silence says something only there."""
    able = [channel for channel in ApiChannel.objects.all() if channel.provider.reports_status]
    seen = ours.filter(status__in=ARRIVED, created_at__gte=now - LOOKED_BACK)
    return [channel.pk for channel in able if seen.filter(api_channel=channel).exists()]


def _settle_messages(kind: str, found: QuerySet[Message]) -> None:
    standing = Mismatch.objects.filter(kind=kind, settled_at=None)
    still = found.filter(pk__in=standing.values("message"))
    standing.exclude(message__in=still.values("pk")).update(settled_at=timezone.now())


def _note_messages(kind: str, found: QuerySet[Message]) -> None:
    known = Mismatch.objects.filter(kind=kind, settled_at=None, message=OuterRef("pk"))
    rows = found.filter(~Exists(known)).order_by("pk")
    _note(
        Mismatch(
            kind=kind,
            api_channel_id=message.api_channel_id,
            conversation_id=message.conversation_id,
            message=message,
            external_id=message.external_id,
            since=message.status_at or message.created_at,
        )
        for message in rows[:MOST]
    )


def _strays(now: datetime) -> None:
    """Statuses that waited a week for their message."""
    old = StrayStatus.objects.filter(received_at__lte=now - STRAY_AFTER)
    standing = Mismatch.objects.filter(kind=Kind.STRAY, settled_at=None)
    standing.exclude(stray__in=old.values("pk")).update(settled_at=timezone.now())
    known = standing.filter(stray=OuterRef("pk"))
    _note(
        Mismatch(
            kind=Kind.STRAY,
            api_channel_id=stray.api_channel_id,
            stray=stray.pk,
            external_id=stray.external_id,
            since=stray.received_at,
        )
        for stray in old.filter(~Exists(known)).order_by("pk")[:MOST]
    )


@transaction.atomic
def _note(rows: Iterable[Mismatch]) -> None:
    Mismatch.objects.bulk_create(rows, ignore_conflicts=True)  # two at once: one of them notes it


def _tell() -> None:
    """An alert for each channel: one for silence, one for all the rest, settled with the last mismatch."""
    silent = Q(kind=Kind.UNCONFIRMED)
    for alert, which in ((alerts.Kind.UNCONFIRMED, silent), (alerts.Kind.MISMATCH, ~silent)):
        rows = Mismatch.objects.filter(which, settled_at=None).order_by()
        counts = dict(rows.values_list("api_channel").annotate(Count("pk")))
        for channel_id in ApiChannel.objects.values_list("pk", flat=True):
            with STEPS.isolate((alert, channel_id)):
                if count := counts.get(channel_id):
                    alerts.raise_alert(alert, api_channel_id=channel_id, count=count, hours=settings.RECONCILE_HOURS)
                else:
                    alerts.settle(alert, api_channel_id=channel_id)
