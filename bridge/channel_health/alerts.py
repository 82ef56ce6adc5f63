"""Alerts for admins: raised once, settled when the cause no longer exists."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import localize

from bridge import alert_catalog, outcomes, service_window, wakeups
from bridge.models import Alert, CircuitBreaker, Delivery
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel, ChannelState

logger = logging.getLogger(__name__)

Kind = Alert.Kind
FAILING_BREAKERS = FailingItems("channels that fail for days")

STUCK_AFTER_FAILURES = 4  # failures of one message
SWITCHED_OFF_AFTER = timedelta(days=5)
ALERT_PERCENTAGES = (90, 70, 50)  # percent of SWITCHED_OFF_AFTER; each raises its own alert


def raise_alert(
    kind: str,
    *,
    api_channel_id: int | None = None,
    delivery_id: int | None = None,
    subject: str = "",
    **details: object,
) -> None:
    """Raise an alert, or update the details of an open one. Alert routes are notified after the commit."""
    open_alerts = _get_open_alerts(kind, api_channel_id=api_channel_id, delivery_id=delivery_id, subject=subject)
    if open_alerts.update(details=details):
        return
    alert = Alert(
        kind=kind, api_channel_id=api_channel_id, delivery_id=delivery_id, subject=subject[:60], details=details
    )
    Alert.objects.bulk_create([alert], ignore_conflicts=True)  # of two concurrent workers, one raises it
    logger.warning("alert raised", extra={"kind": kind, "channel": api_channel_id, "delivery": delivery_id})
    wakeups.notify_after_commit(wakeups.ALERTS)


def settle_alert(
    kind: str, *, api_channel_id: int | None = None, delivery_id: int | None = None, subject: str = ""
) -> None:
    """Settle the open alert of this kind, if any."""
    rows = _get_open_alerts(kind, api_channel_id=api_channel_id, delivery_id=delivery_id, subject=subject)
    settle_alerts(rows)


def settle_alerts(rows: QuerySet[Alert]) -> None:
    """Settle these alerts, and notify the alert routes after the commit."""
    if rows.filter(settled_at=None).update(settled_at=timezone.now()):
        wakeups.notify_after_commit(wakeups.ALERTS)


def _get_open_alerts(
    kind: str, *, api_channel_id: int | None = None, delivery_id: int | None = None, subject: str = ""
) -> QuerySet[Alert]:
    rows = Alert.objects.filter(kind=kind, subject=subject[:60], settled_at=None)
    rows = rows.filter(api_channel__isnull=True) if api_channel_id is None else rows.filter(api_channel=api_channel_id)
    return rows.filter(delivery__isnull=True) if delivery_id is None else rows.filter(delivery=delivery_id)


def count_open_alerts() -> dict[tuple[str, str], int]:
    """Return (kind, severity) → number of open alerts, with every kind."""
    rows = Alert.objects.filter(settled_at=None).order_by().values_list("kind").annotate(Count("pk"))
    counts = dict(rows)
    catalog = alert_catalog.CATALOG
    return {(str(kind), str(catalog[kind].severity)): counts.get(kind, 0) for kind in catalog}


def mark_opened(alert: Alert, *, by: Any, acknowledge: bool = False) -> None:
    """Record the first person who looked at an alert, and who acknowledged it. Nothing escalates afterwards."""
    now = timezone.now()
    Alert.objects.filter(pk=alert.pk, opened_at=None).update(opened_at=now, opened_by=by)
    if acknowledge:
        Alert.objects.filter(pk=alert.pk, acknowledged_at=None).update(acknowledged_at=now, acknowledged_by=by)


def review_alerts() -> int:
    """Alert about destinations that fail for days, and settle resolved alerts. Return the number of open alerts."""
    _review_failing_channels()
    _settle_stuck_alerts()
    return Alert.objects.filter(settled_at=None).count()


def _review_failing_channels() -> None:
    """Alert at 50, 70 and 90 % of five days of failure; then pause the channel once and keep everything.

    A paused channel is not failing: the five days start over when it is resumed.
    """
    now = service_window.database_now()
    CircuitBreaker.objects.filter(api_channel__state=ChannelState.PAUSED, failing_since__lt=now).update(
        failing_since=now
    )
    earliest = SWITCHED_OFF_AFTER * min(ALERT_PERCENTAGES) / 100
    rows = CircuitBreaker.objects.filter(api_channel__isnull=False, failing_since__lte=now - earliest)
    failing = set()
    for row in rows.select_related("api_channel"):
        assert row.api_channel is not None  # see the filter
        failing.add(row.api_channel.pk)
        with FAILING_BREAKERS.isolate(row.pk):
            if not _review_failing_channel(row, row.api_channel, now=now):
                failing.remove(row.api_channel.pk)
    settle_alerts(Alert.objects.filter(kind=Kind.FAILING_LONG).exclude(api_channel__in=failing))
    settle_alerts(Alert.objects.filter(kind=Kind.SWITCHED_OFF).exclude(api_channel__state=ChannelState.PAUSED))


def _review_failing_channel(row: CircuitBreaker, channel: ApiChannel, *, now: datetime) -> bool:
    """Raise an alert for a failing channel, or pause it. Return whether it is still failing."""
    assert row.failing_since is not None
    duration = now - row.failing_since
    if _was_resumed_by_admin(channel):
        CircuitBreaker.objects.filter(pk=row.pk).update(failing_since=now)
        return False
    if duration >= SWITCHED_OFF_AFTER:
        _switch_off(row, channel, now=now)
        return False
    percent = next(each for each in ALERT_PERCENTAGES if duration >= SWITCHED_OFF_AFTER * each / 100)
    _raise_failing_alert(channel.pk, percent=percent, days=round(duration / timedelta(days=1), 1))
    return True


def _was_resumed_by_admin(channel: ApiChannel) -> bool:
    """Return whether an admin resumed the channel after our pause: the alert is open, the pause is over."""
    was_paused_by_us = _get_open_alerts(Kind.SWITCHED_OFF, api_channel_id=channel.pk).exists()
    return was_paused_by_us and channel.state != ChannelState.PAUSED


@transaction.atomic
def _switch_off(row: CircuitBreaker, channel: ApiChannel, *, now: datetime) -> None:
    channel.pause()
    CircuitBreaker.objects.filter(pk=row.pk).update(failing_since=now)
    raise_alert(Kind.SWITCHED_OFF, api_channel_id=channel.pk, why_code="failing_for_days")


def _raise_failing_alert(channel_id: int, *, percent: int, days: float) -> None:
    """Settle the alert of an earlier stage and raise the one of this stage."""
    settle_alerts(_get_open_alerts(Kind.FAILING_LONG, api_channel_id=channel_id).exclude(details__percent=percent))
    raise_alert(Kind.FAILING_LONG, api_channel_id=channel_id, percent=percent, days=days)


def _settle_stuck_alerts() -> None:
    """Settle alerts of messages that were sent, given up, canceled or discarded: dead letters are not stuck."""
    settle_alerts(Alert.objects.filter(kind=Kind.STUCK).exclude(delivery__state__in=Delivery.UNFINISHED))


def settle_archived_channel_alerts() -> None:
    """Settle the alerts of archived channels, but not those about messages for other numbers at their address."""
    of_archived = Alert.objects.filter(api_channel__archived_at__isnull=False)
    settle_alerts(of_archived.exclude(kind=Kind.UNROUTED))


def build_events_url(alert: Alert) -> str:
    """Return the admin URL of the events that an alert is about."""
    state = "unrouted" if alert.kind == Kind.UNROUTED else "groups"
    page = reverse("admin:bridge_webhookevent_changelist")
    return f"{page}?state={state}&api_channel__id__exact={alert.api_channel_id}"


def describe_alert(alert: Alert) -> str:
    """Return the alert as a sentence in the active language."""
    details, channel = dict(alert.details), alert.api_channel
    code = str(details.pop("why_code", ""))
    if alert.kind == Kind.BREAKER and alert.settled_at is None and channel:  # show the newest failure, not the first
        code = channel.last_error
    why = outcomes.render_sentence(code, details, for_admin=True) if code else ""
    text = alert_catalog.CATALOG[alert.kind].sentence
    if (
        alert.kind == Kind.SWITCHED_OFF
        and outcomes.suggest_action(code, for_admin=True) == outcomes.SuggestedAction.CHANNEL
    ):
        text = alert_catalog.SWITCHED_OFF_RESUMES
    values = {"channel": channel.name if channel else "", "why": why}
    values |= {name: localize(value) for name, value in details.items()}
    return (str(text) % outcomes.BlankMissing(values)).strip()
