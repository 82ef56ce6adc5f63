"""Webhook inactivity, judged by the channel's own rhythm."""

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


def receive_event(channel: Any, at: datetime) -> None:
    event = WebhookEvent.objects.create(api_channel=channel, endpoint="webhook", body=b"{}")
    WebhookEvent.objects.filter(pk=event.pk).update(received_at=at)
    channel.refresh_from_db()
    webhook_inactivity.check_webhook_inactivity()


def open_alerts() -> list[str]:
    return list(Alert.objects.filter(settled_at=None).values_list("kind", flat=True))


def test_twice_the_longest_gap_raises_an_alert_until_the_next_event(channel: Any) -> None:
    now = timezone.now()
    for hours in (80, 76, 56, 52, 32, 28, 9):  # gaps of at most 20 hours every day
        receive_event(channel, now - timedelta(hours=hours))
    assert open_alerts() == []

    event_rhythm = channel.provider_status["rhythm"]
    late = datetime.fromisoformat(event_rhythm["last"]) + timedelta(hours=41)
    assert webhook_inactivity.is_inactive(event_rhythm, now=late)
    assert not webhook_inactivity.is_inactive(event_rhythm, now=late - timedelta(hours=2))


def test_the_alert_stays_open_until_the_next_event(channel: Any) -> None:
    now = timezone.now()
    for hours in (80, 79, 56, 55.5, 55, 32, 31, 30):
        receive_event(channel, now - timedelta(hours=hours))
    channel.update_provider_status(
        rhythm={**channel.provider_status["rhythm"], "longest_gaps": {"1": 3600, "2": 3600, "3": 7200}}
    )
    webhook_inactivity.check_webhook_inactivity()
    assert open_alerts() == ["webhook_inactivity"]

    receive_event(channel, now)
    assert open_alerts() == []


def test_a_new_channel_has_no_rhythm_yet(channel: Any) -> None:
    receive_event(channel, timezone.now() - timedelta(days=2))

    assert open_alerts() == []


def test_a_short_gap_of_a_busy_channel_raises_no_alert(channel: Any) -> None:
    rhythm = {"last": timezone.now().isoformat(), "longest_gaps": {"1": 60, "2": 60, "3": 60}}

    assert not webhook_inactivity.is_inactive(rhythm, now=timezone.now() + timedelta(minutes=110))
    assert webhook_inactivity.is_inactive(rhythm, now=timezone.now() + timedelta(minutes=130))
