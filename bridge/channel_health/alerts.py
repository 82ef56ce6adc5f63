"""Alerts: what an admin should know, raised once and settled by the fact that ends it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bridge import outcomes, service_window
from bridge.models import Alert, CircuitBreaker, Delivery
from channels_setup.failing_items import FailingItems
from channels_setup.models import ChannelState

logger = logging.getLogger(__name__)

Kind = Alert.Kind
FAILING_BREAKERS = FailingItems("channels that fail for days")

SENTENCES: Mapping[str, Promise] = {
    Kind.BREAKER: _("“%(channel)s” takes no messages. They wait; we try again every few minutes. %(why)s"),
    Kind.STUCK: _("A message on “%(channel)s” has failed four times. %(why)s"),
    Kind.FAILING_LONG: _(
        "“%(channel)s” has been failing for %(days)s days (%(percent)s %% of five). "
        "Then it is paused, with everything kept."
    ),
    Kind.SWITCHED_OFF: _(
        "“%(channel)s” was paused by the portal: %(why)s Nothing is lost; resume it when it is mended."
    ),
    Kind.WEBHOOK_INACTIVITY: _(
        "No webhook has come to “%(channel)s” for %(hours)s hours, more than twice its longest quiet of late. "
        "Look whether the provider still knows our address."
    ),
    Kind.MISMATCH: _("Messages on “%(channel)s” stand differently on the two sides: %(count)s."),
    Kind.UNROUTED: _(
        "Webhooks that came to “%(channel)s” are for another number or account (%(ids)s) and could not be handed over: "
        "%(count)s. %(why)s"
    ),
    Kind.GROUPS: _(
        "Messages from WhatsApp groups come to “%(channel)s”: %(count)s so far. Groups are not supported: "
        "these messages open no chat and no window."
    ),
    Kind.UNCONFIRMED: _("Messages on “%(channel)s” were taken but have had no status for %(hours)s hours: %(count)s."),
}

# Where the reason itself says what makes the channel go on.
RESUMES_BY_ITSELF = _("“%(channel)s” was paused by the portal: %(why)s Nothing is lost.")

STUCK_AFTER_FAILURES = 4  # failures of one message
SWITCHED_OFF_AFTER = timedelta(days=5)
ALERT_PERCENTAGES = (90, 70, 50)  # percent of SWITCHED_OFF_AFTER: each is an alert of its own


def raise_alert(kind: str, *, api_channel_id: int, delivery_id: int | None = None, **details: object) -> None:
    """Raise an alert unless it stands already; then only its details are brought up to date."""
    standing = _get_open_alerts(kind, api_channel_id=api_channel_id, delivery_id=delivery_id)
    if standing.update(details=details):
        return
    alert = Alert(kind=kind, api_channel_id=api_channel_id, delivery_id=delivery_id, details=details)
    Alert.objects.bulk_create([alert], ignore_conflicts=True)  # two workers at once: one of them raises it
    logger.warning("alert raised", extra={"kind": kind, "channel": api_channel_id, "delivery": delivery_id})


def settle_alert(kind: str, *, api_channel_id: int, delivery_id: int | None = None) -> None:
    _get_open_alerts(kind, api_channel_id=api_channel_id, delivery_id=delivery_id).update(settled_at=timezone.now())


def _get_open_alerts(kind: str, *, api_channel_id: int, delivery_id: int | None) -> QuerySet[Alert]:
    rows = Alert.objects.filter(kind=kind, api_channel=api_channel_id, settled_at=None)
    return rows.filter(delivery__isnull=True) if delivery_id is None else rows.filter(delivery=delivery_id)


def review_alerts() -> int:
    """Housekeeping: destinations that fail for days, alerts whose cause is gone; how many alerts stand."""
    _review_failing_channels()
    _settle_stuck_alerts()
    return Alert.objects.filter(settled_at=None).count()


def _review_failing_channels() -> None:
    """At 50, 70 and 90 % of five days an alert; then the channel is paused, once, and everything is kept.

    A channel that is paused does not fail: when it is resumed the five days begin anew.
    """
    now = service_window.database_now()
    CircuitBreaker.objects.filter(api_channel__state=ChannelState.PAUSED, failing_since__lt=now).update(
        failing_since=now
    )
    earliest = SWITCHED_OFF_AFTER * min(ALERT_PERCENTAGES) / 100
    troubled = CircuitBreaker.objects.filter(failing_since__lte=now - earliest).select_related("api_channel")
    failing = set()
    for row in troubled:
        failing.add(row.pk)
        with FAILING_BREAKERS.isolate(row.pk):
            if not _review_failing_channel(row, now=now):
                failing.remove(row.pk)
    for alert in Alert.objects.filter(kind=Kind.FAILING_LONG, settled_at=None).exclude(api_channel__in=failing):
        settle_alert(Kind.FAILING_LONG, api_channel_id=alert.api_channel_id)
    for alert in Alert.objects.filter(kind=Kind.SWITCHED_OFF, settled_at=None).exclude(
        api_channel__state=ChannelState.PAUSED
    ):
        settle_alert(Kind.SWITCHED_OFF, api_channel_id=alert.api_channel_id)


def _review_failing_channel(row: CircuitBreaker, *, now: datetime) -> bool:
    """Note or switch off a channel that fails for days; return whether it goes on failing."""
    assert row.failing_since is not None
    lasting = now - row.failing_since
    if _was_resumed_by_admin(row):
        CircuitBreaker.objects.filter(pk=row.pk).update(failing_since=now)
        return False
    if lasting >= SWITCHED_OFF_AFTER:
        _switch_off(row, now=now)
        return False
    percent = next(each for each in ALERT_PERCENTAGES if lasting >= SWITCHED_OFF_AFTER * each / 100)
    _raise_failing_alert(row.pk, percent=percent, days=round(lasting / timedelta(days=1), 1))
    return True


def _was_resumed_by_admin(row: CircuitBreaker) -> bool:
    """We paused it, and an admin has resumed it since: the alert still stands, the pause does not."""
    paused_by_us = _get_open_alerts(Kind.SWITCHED_OFF, api_channel_id=row.pk, delivery_id=None).exists()
    return paused_by_us and row.api_channel.state != ChannelState.PAUSED


@transaction.atomic
def _switch_off(row: CircuitBreaker, *, now: datetime) -> None:
    row.api_channel.pause()
    CircuitBreaker.objects.filter(pk=row.pk).update(failing_since=now)
    raise_alert(Kind.SWITCHED_OFF, api_channel_id=row.pk, why_code="failing_for_days")


def _raise_failing_alert(channel_id: int, *, percent: int, days: float) -> None:
    """A stage that is reached ends the alert of the one before and raises its own."""
    standing = _get_open_alerts(Kind.FAILING_LONG, api_channel_id=channel_id, delivery_id=None)
    standing.exclude(details__percent=percent).update(settled_at=timezone.now())
    raise_alert(Kind.FAILING_LONG, api_channel_id=channel_id, percent=percent, days=days)


def _settle_stuck_alerts() -> None:
    """A message that was given up, taken back or put aside is a dead letter, and no longer stuck."""
    Alert.objects.filter(kind=Kind.STUCK, settled_at=None).exclude(delivery__state__in=Delivery.UNFINISHED).update(
        settled_at=timezone.now()
    )


def build_events_url(alert: Alert) -> str:
    """Where the events are listed of which the alert tells."""
    which = "unrouted" if alert.kind == Kind.UNROUTED else "groups"
    page = reverse("admin:bridge_webhookevent_changelist")
    return f"{page}?state={which}&api_channel__id__exact={alert.api_channel_id}"


def describe_alert(alert: Alert) -> str:
    """The alert in words, in the reader's language."""
    details = dict(alert.details)
    code = str(details.pop("why_code", ""))
    if alert.kind == Kind.BREAKER and alert.settled_at is None:  # it opened for many tries; the last one says why
        code = alert.api_channel.last_error
    why = outcomes.render_sentence(code, details, for_admin=True) if code else ""
    text = SENTENCES[alert.kind]
    if (
        alert.kind == Kind.SWITCHED_OFF
        and outcomes.suggest_action(code, for_admin=True) == outcomes.SuggestedAction.CHANNEL
    ):
        text = RESUMES_BY_ITSELF
    shown = {name: localize(value) for name, value in details.items()}
    return (str(text) % outcomes.BlankMissing({"channel": alert.api_channel.name, "why": why, **shown})).strip()
