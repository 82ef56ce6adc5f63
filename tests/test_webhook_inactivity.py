"""Webhooks that stop coming: judged by the channel's own rhythm."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.channel_health import webhook_inactivity
from bridge.models import Alert, WebhookEvent
from tests.factories import ApiChannelFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> Any:
    return ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", first_inbound_at=timezone.now())


def event_came(channel: Any, at: datetime) -> None:
    event = WebhookEvent.objects.create(api_channel=channel, endpoint="webhook", body=b"{}")
    WebhookEvent.objects.filter(pk=event.pk).update(received_at=at)
    channel.refresh_from_db()
    webhook_inactivity.check_webhook_inactivity()


def alerts_standing() -> list[str]:
    return list(Alert.objects.filter(settled_at=None).values_list("kind", flat=True))


def test_twice_the_longest_quiet_is_told_and_over_when_one_comes(channel: Any) -> None:
    now = timezone.now()
    for hours in (80, 76, 56, 52, 32, 28, 9):  # every day a quiet of at most 20 hours
        event_came(channel, now - timedelta(hours=hours))
    assert alerts_standing() == []

    event_rhythm = channel.provider_status["rhythm"]
    late = datetime.fromisoformat(event_rhythm["last"]) + timedelta(hours=41)
    assert webhook_inactivity.is_inactive(event_rhythm, now=late)
    assert not webhook_inactivity.is_inactive(event_rhythm, now=late - timedelta(hours=2))


def test_the_alert_stands_until_the_next_event(channel: Any) -> None:
    now = timezone.now()
    for hours in (80, 79, 56, 55.5, 55, 32, 31, 30):
        event_came(channel, now - timedelta(hours=hours))
    channel.update_provider_status(
        rhythm={**channel.provider_status["rhythm"], "quiets": {"1": 3600, "2": 3600, "3": 7200}}
    )
    webhook_inactivity.check_webhook_inactivity()
    assert alerts_standing() == ["webhook_inactivity"]

    event_came(channel, now)
    assert alerts_standing() == []


def test_a_young_channel_has_no_rhythm_yet(channel: Any) -> None:
    event_came(channel, timezone.now() - timedelta(days=2))

    assert alerts_standing() == []


def test_a_busy_channels_short_quiet_is_nothing(channel: Any) -> None:
    rhythm = {"last": timezone.now().isoformat(), "quiets": {"1": 60, "2": 60, "3": 60}}

    assert not webhook_inactivity.is_inactive(rhythm, now=timezone.now() + timedelta(minutes=110))
    assert webhook_inactivity.is_inactive(rhythm, now=timezone.now() + timedelta(minutes=130))
