"""Alerts: what an admin should know, raised once and settled by the fact that ends it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel, ChannelState

from . import windows
from .models import Alert, Breaker, Message

logger = logging.getLogger(__name__)

Kind = Alert.Kind

SENTENCES: Mapping[str, Promise] = {
    Kind.BREAKER: _("“%(channel)s” cannot be reached. Messages wait; we look again every few minutes."),
    Kind.STUCK: _("A message on “%(channel)s” has failed four times: %(why)s"),
    Kind.FAILING_LONG: _("“%(channel)s” has been failing for %(days)s days. After five days it is paused."),
    Kind.SWITCHED_OFF: _(
        "“%(channel)s” was paused by the portal: %(why)s Nothing is lost; resume it when it is mended."
    ),
    Kind.UNCONFIRMED: _("%(count)s messages on “%(channel)s” were taken but have had no status for %(hours)s hours."),
}

STUCK_AT = 4  # failures of one message
SWITCHED_OFF_AFTER = timedelta(days=5)
NOTICED_AT = (0.5, 0.7, 0.9)  # of SWITCHED_OFF_AFTER
UNCONFIRMED_HOURS = 6


def raise_alert(kind: str, *, api_channel_id: int, delivery_id: int | None = None, **details: object) -> None:
    """Raise an alert unless it stands already; then only its details are brought up to date."""
    standing = _standing(kind, api_channel_id=api_channel_id, delivery_id=delivery_id)
    if standing.update(details=details):
        return
    alert = Alert(kind=kind, api_channel_id=api_channel_id, delivery_id=delivery_id, details=details)
    Alert.objects.bulk_create([alert], ignore_conflicts=True)  # two workers at once: one of them raises it
    logger.warning("alert raised", extra={"kind": kind, "channel": api_channel_id, "delivery": delivery_id})


def settle(kind: str, *, api_channel_id: int, delivery_id: int | None = None) -> None:
    _standing(kind, api_channel_id=api_channel_id, delivery_id=delivery_id).update(settled_at=timezone.now())


def _standing(kind: str, *, api_channel_id: int, delivery_id: int | None) -> QuerySet[Alert]:
    rows = Alert.objects.filter(kind=kind, api_channel=api_channel_id, settled_at=None)
    return rows.filter(delivery__isnull=True) if delivery_id is None else rows.filter(delivery=delivery_id)


def watch() -> int:
    """Housekeeping: destinations that fail for days, and messages that nobody confirms; how many alerts stand."""
    _failing_for_days()
    _unconfirmed()
    return Alert.objects.filter(settled_at=None).count()


def _failing_for_days() -> None:
    now = windows.database_now()
    troubled = Breaker.objects.filter(failing_since__lte=now - SWITCHED_OFF_AFTER * NOTICED_AT[0])
    for row in troubled.select_related("api_channel"):
        assert row.failing_since is not None
        lasting = now - row.failing_since
        if lasting >= SWITCHED_OFF_AFTER and row.api_channel.state != ChannelState.PAUSED:
            row.api_channel.pause()
            raise_alert(Kind.SWITCHED_OFF, api_channel_id=row.pk, why_code="failing_for_days")
        elif any(lasting >= SWITCHED_OFF_AFTER * share for share in NOTICED_AT):
            raise_alert(Kind.FAILING_LONG, api_channel_id=row.pk, days=round(lasting / timedelta(days=1), 1))
    for alert in Alert.objects.filter(kind=Kind.FAILING_LONG, settled_at=None).exclude(
        api_channel__in=troubled.values("pk")
    ):
        settle(Kind.FAILING_LONG, api_channel_id=alert.api_channel_id)
    for alert in Alert.objects.filter(kind=Kind.SWITCHED_OFF, settled_at=None).exclude(
        api_channel__state=ChannelState.PAUSED
    ):
        settle(Kind.SWITCHED_OFF, api_channel_id=alert.api_channel_id)


def _unconfirmed() -> None:
    """Channels where the two sides disagree: taken by the provider, and no status came back although some do."""
    now = windows.database_now()
    for channel in ApiChannel.objects.all():
        if not channel.provider.reports_status:
            continue
        sent = Message.objects.filter(api_channel=channel, direction=Message.Direction.OUTBOUND)
        silent = sent.filter(
            status=Message.Status.SENT,
            status_at__lte=now - timedelta(hours=UNCONFIRMED_HOURS),
            status_at__gt=now - timedelta(days=7),
        ).count()
        reports = silent and sent.filter(status__in=[Message.Status.DELIVERED, Message.Status.READ]).exists()
        if silent and reports:
            raise_alert(Kind.UNCONFIRMED, api_channel_id=channel.pk, count=silent, hours=UNCONFIRMED_HOURS)
        else:
            settle(Kind.UNCONFIRMED, api_channel_id=channel.pk)


def sentence(alert: Alert) -> str:
    """The alert in words, in the reader's language."""
    from .reasons import sentence as why

    details = dict(alert.details)
    code = str(details.pop("why_code", ""))
    values = {"channel": alert.api_channel.name, "why": why(code, for_admin=True) if code else "", **details}
    return str(SENTENCES[alert.kind]) % values
