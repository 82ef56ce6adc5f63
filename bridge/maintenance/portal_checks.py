"""Checks of the portal as a whole, which raise and settle alerts: components, disk, queues, dead letters, templates.

Beat starts them in the housekeeping queue. If this queue or the database fails, no check here notices it:
outside monitoring of /health/ready does (docs/alerts.md). Beat itself is watched by the runs of the outbound queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import alerts
from bridge.files import storage_limits
from bridge.models import Alert, CircuitBreaker, Delivery, WebhookEvent
from bridge.outbox import dispatcher
from channels_setup.failing_items import FailingItems
from channels_setup.models import AlertRoute, ApiChannel, ChannelState

from . import backup_status, housekeeping

# Seconds without a heartbeat after which a component has stopped, for alerts and /health/ready.
MAX_HEARTBEAT_AGE = {"beat": 30, "inbound": 60, "outbound": 60, "events": 60}
MAX_DELAY = 300.0  # seconds that a due delivery or a stored webhook may wait
CONFIRM_SECONDS = 20.0  # a stopped component or late queue is reported if a check this much later finds it, too
FORGET_SECONDS = 180.0  # a suspicion of this process that no check has confirmed
DEAD_LETTERS_PER_HOUR = 10
COUNT_LIMIT = 1_000
TEMPLATE_SYNC_AFTER = timedelta(days=1)
CHECKS = FailingItems("portal checks")
Kind = Alert.Kind

# (kind, subject) → when this process saw it first and last, by time.monotonic().
_suspicions: dict[tuple[str, str], tuple[float, float]] = {}


def check_portal() -> None:
    """Run every check. One that fails does not prevent the others."""
    for name, check in PORTAL_CHECKS.items():
        with CHECKS.isolate(name):
            check()


def _report(kind: str, is_wrong: bool, *, subject: str = "", **details: str | int) -> None:
    if is_wrong:
        alerts.raise_alert(kind, api_channel_id=None, delivery_id=None, subject=subject, **details)
    else:
        alerts.settle_alert(kind, subject=subject)


def _report_if_confirmed(kind: str, is_wrong: bool, *, subject: str = "", **details: str | int) -> None:
    """Report a problem that a second check sees, too. After a start, all old heartbeats and queues look wrong once."""
    now = time.monotonic()
    first, last = _suspicions.pop((kind, subject), (now, now))
    if not is_wrong:
        return _report(kind, False, subject=subject)
    first = now if now - last > FORGET_SECONDS else first
    _suspicions[kind, subject] = first, now
    if now - first >= CONFIRM_SECONDS:
        _report(kind, True, subject=subject, **details)


def check_components(names: Collection[str] = MAX_HEARTBEAT_AGE.keys()) -> None:
    """Alert about components without a heartbeat. One that has never worked is not installed yet."""
    ages = housekeeping.get_heartbeat_ages()
    for name in names:
        max_age = MAX_HEARTBEAT_AGE[name]
        age = ages.get(name, 0.0)
        details: dict[str, str | int] = {"name": name, "component": name, "minutes": max(round(age / 60), 1)}
        _report_if_confirmed(Kind.COMPONENT_STOPPED, age > max_age, subject=name, **details)


def check_beat() -> None:
    with CHECKS.isolate("beat"):
        check_components(["beat"])


def check_disk() -> None:
    free = storage_limits.get_free_bytes() // storage_limits.MEGABYTE
    _report(Kind.DISK_LOW, storage_limits.is_disk_low(), free_mb=free)


def check_deliveries() -> None:
    age = dispatcher.get_oldest_due_age(now=service_window.database_now())
    _report_if_confirmed(Kind.DELIVERIES_LATE, age > MAX_DELAY, minutes=round(age / 60))


def check_inbox() -> None:
    """Alert about webhooks that wait, and about those that could not be read."""
    now = service_window.database_now()
    oldest = WebhookEvent.objects.filter(state=WebhookEvent.State.NEW).order_by("pk").only("received_at").first()
    age = (now - oldest.received_at).total_seconds() if oldest else 0.0
    _report_if_confirmed(Kind.INBOX_LATE, age > MAX_DELAY, minutes=round(age / 60))
    failed = WebhookEvent.objects.filter(state=WebhookEvent.State.FAILED)[:COUNT_LIMIT].count()
    _report(Kind.EVENTS_FAILED, failed > 0, count=failed)


def check_dead_letters() -> None:
    """Alert if many deliveries were given up lately. Alert messages do not count: they would alert about themselves."""
    since = service_window.database_now() - timedelta(hours=1)
    newest = Delivery.objects.filter(state=Delivery.State.DEAD).order_by("-pk").values("pk")[:COUNT_LIMIT]
    count = Delivery.objects.filter(pk__in=newest, finished_at__gt=since, alert_route=None).count()
    _report(Kind.DEAD_LETTERS, count >= DEAD_LETTERS_PER_HOUR, count=count)


def check_template_sync() -> None:
    """Alert about channels whose templates have not been synchronized for a day because of an error."""
    now = service_window.database_now()
    is_stale = Q(registry__synced_at__lt=now - TEMPLATE_SYNC_AFTER) & ~Q(registry__sync_error="")
    failing = ApiChannel.objects.filter(is_stale).exclude(state=ChannelState.PAUSED).select_related("registry")
    for channel in failing:
        synced_at = channel.registry.synced_at
        hours = round((now - synced_at) / timedelta(hours=1)) if synced_at else 0
        alerts.raise_alert(Kind.TEMPLATE_SYNC, api_channel_id=channel.pk, hours=hours)
    alerts.settle_alerts(Alert.objects.filter(kind=Kind.TEMPLATE_SYNC).exclude(api_channel__in=failing))


def check_backup() -> None:
    """Alert if the last backup is too old. Before the first backup, only ``manage.py doctor`` reports it."""
    status = backup_status.read_status()
    hours = round((timezone.now() - status.made_at) / timedelta(hours=1)) if status else 0
    _report(Kind.BACKUP_OLD, status is not None and status.is_too_old(), hours=hours)


def settle_gone_subjects() -> None:
    """Settle alerts that no attempt will settle: their route, helpdesk or channel was changed, archived or deleted."""
    enabled = [str(pk) for pk in AlertRoute.objects.filter(is_enabled=True).values_list("pk", flat=True)]
    alerts.settle_alerts(Alert.objects.filter(kind=Kind.ROUTE_FAILING).exclude(subject__in=enabled))
    down = CircuitBreaker.objects.filter(chat_channel__isnull=False, is_open=True)
    still_down = [str(pk) for pk in down.values_list("chat_channel_id", flat=True)]
    alerts.settle_alerts(Alert.objects.filter(kind=Kind.HELPDESK_DOWN).exclude(subject__in=still_down))
    alerts.settle_archived_channel_alerts()


PORTAL_CHECKS: Mapping[str, Callable[[], None]] = {
    "components": check_components,
    "disk": check_disk,
    "deliveries": check_deliveries,
    "inbox": check_inbox,
    "dead letters": check_dead_letters,
    "backup": check_backup,
    "templates": check_template_sync,
    "gone subjects": settle_gone_subjects,
}
