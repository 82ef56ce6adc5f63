"""Webhook inactivity: alert when a channel gets no webhooks for much longer than usual.

Runs every few minutes. Keeps the time of the newest event and the longest gap of each recent day. A gap more than twice
the longest one raises an alert: the portal cannot ask the provider for webhooks that were not sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max

from bridge import service_window
from bridge.models import WebhookEvent
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel, ChannelState

from . import alerts

RHYTHM_DAYS = 14  # days of gaps that are kept
MIN_RHYTHM_DAYS = 3  # with fewer days there are no alerts
MIN_GAP = timedelta(hours=1)  # gaps shorter than twice this never alert
CHECKED_CHANNELS = FailingItems("webhook inactivity")
RHYTHM_KEY = "rhythm"  # in ``ApiChannel.provider_status``: {"last": time, "longest_gaps": {day: seconds}}


def check_webhook_inactivity() -> None:
    """Raise or settle the alert of every channel that has received webhooks."""
    now = service_window.database_now()
    for channel in ApiChannel.objects.exclude(first_inbound_at=None):
        with CHECKED_CHANNELS.isolate(channel.pk):
            _check_channel(channel, now=now)


def _check_channel(channel: ApiChannel, *, now: datetime) -> None:
    if channel.provider.has_training_phone:
        return
    rhythm = _update_rhythm(channel, now=now)
    if is_inactive(rhythm, now=now) and channel.state != ChannelState.PAUSED:
        hours = round((now - datetime.fromisoformat(rhythm["last"])) / timedelta(hours=1))
        alerts.raise_alert(alerts.Kind.WEBHOOK_INACTIVITY, api_channel_id=channel.pk, hours=hours)
    else:
        alerts.settle_alert(alerts.Kind.WEBHOOK_INACTIVITY, api_channel_id=channel.pk)


def _update_rhythm(channel: ApiChannel, *, now: datetime) -> dict[str, Any]:
    """Update the stored rhythm from the newest event."""
    newest = WebhookEvent.objects.filter(api_channel=channel).aggregate(Max("received_at"))["received_at__max"]
    rhythm: dict[str, Any] = channel.provider_status.get(RHYTHM_KEY) or {"last": None, "longest_gaps": {}}
    if newest is None or rhythm["last"] == newest.isoformat():
        return rhythm
    gaps: dict[str, float] = dict(rhythm["longest_gaps"])
    day = newest.date().isoformat()
    if rhythm["last"]:
        gap = (newest - datetime.fromisoformat(rhythm["last"])).total_seconds()
        gaps[day] = max(gaps.get(day, 0), gap)
    gaps = dict(sorted(gaps.items())[-RHYTHM_DAYS:])
    rhythm = {"last": newest.isoformat(), "longest_gaps": gaps}
    channel.update_provider_status(**{RHYTHM_KEY: rhythm})
    return rhythm


def is_inactive(rhythm: dict[str, Any], *, now: datetime) -> bool:
    """Return whether the current gap is more than twice the longest known one."""
    if not rhythm["last"] or len(rhythm["longest_gaps"]) < MIN_RHYTHM_DAYS:
        return False
    longest = max(timedelta(seconds=max(rhythm["longest_gaps"].values())), MIN_GAP)
    return now - datetime.fromisoformat(rhythm["last"]) > 2 * longest
