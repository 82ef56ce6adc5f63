"""Webhooks that have stopped coming, by the channel's own rhythm: nobody can ask the provider for those it kept back.

Looked at every few minutes: when the newest event came, and how long the longest quiet of each of the last days was.
A quiet more than twice as long as any of them is worth an admin's look.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bridge import service_window
from bridge.models import WebhookEvent
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel, ChannelState

from . import alerts

RHYTHM_DAYS = 14  # of the rhythm
MIN_RHYTHM_DAYS = 3  # before that there is no rhythm to speak of
MIN_GAP = timedelta(hours=1)  # a quiet shorter than twice this is none
CHECKED_CHANNELS = FailingItems("webhook inactivity")
RHYTHM_KEY = "rhythm"  # in ``ApiChannel.provider_status``: {"last": time, "quiets": {day: seconds}}


def check_webhook_inactivity() -> None:
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
    """Bring the rhythm up to date: one look at the newest event."""
    newest = (
        WebhookEvent.objects.filter(api_channel=channel).order_by("-pk").values_list("received_at", flat=True).first()
    )
    rhythm: dict[str, Any] = channel.provider_status.get(RHYTHM_KEY) or {"last": None, "quiets": {}}
    if newest is None or rhythm["last"] == newest.isoformat():
        return rhythm
    quiets: dict[str, float] = dict(rhythm["quiets"])
    day = newest.date().isoformat()
    if rhythm["last"]:
        quiet = (newest - datetime.fromisoformat(rhythm["last"])).total_seconds()
        quiets[day] = max(quiets.get(day, 0), quiet)
    kept = dict(sorted(quiets.items())[-RHYTHM_DAYS:])
    rhythm = {"last": newest.isoformat(), "quiets": kept}
    channel.update_provider_status(**{RHYTHM_KEY: rhythm})
    return rhythm


def is_inactive(rhythm: dict[str, Any], *, now: datetime) -> bool:
    """Has it been quiet for more than twice as long as ever in the days we know?"""
    if not rhythm["last"] or len(rhythm["quiets"]) < MIN_RHYTHM_DAYS:
        return False
    longest = max(timedelta(seconds=max(rhythm["quiets"].values())), MIN_GAP)
    return now - datetime.fromisoformat(rhythm["last"]) > 2 * longest
