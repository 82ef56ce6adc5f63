"""Unsupported events: WhatsApp groups, and test webhooks from the provider's own page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from bridge.channel_health import alerts
from bridge.models import Alert
from channels_setup.models import ApiChannel
from channels_setup.providers.base import Fact, GroupActivity, SampleReceived

ALERT_DURATION = timedelta(days=3)
ALERT_REPEAT_AFTER = timedelta(days=30)  # remind the admin of groups this often


def record_unsupported(api_channel: ApiChannel, facts: Sequence[Fact]) -> None:
    """Record groups and tests for the channel's page. Raise an alert for the first group activity."""
    now = timezone.now()
    if samples := [fact.event for fact in facts if isinstance(fact, SampleReceived)]:
        api_channel.update_provider_status(sample_at=now.isoformat(), sample=samples[-1])
    count = sum(isinstance(fact, GroupActivity) for fact in facts)
    if not count:
        return
    stored = api_channel.provider_status.get("groups") or {}
    count += int(stored.get("count", 0))
    api_channel.update_provider_status(groups={"count": count, "at": now.isoformat()})
    recent = Alert.objects.filter(
        kind=Alert.Kind.GROUPS, api_channel=api_channel, raised_at__gt=now - ALERT_REPEAT_AFTER
    )
    if not recent.filter(settled_at__isnull=False).exists():
        alerts.raise_alert(Alert.Kind.GROUPS, api_channel_id=api_channel.pk, count=count)


def settle_group_alerts() -> None:
    """Settle group alerts after ALERT_DURATION. The channel's page keeps showing the groups."""
    now = timezone.now()
    expired = Alert.objects.filter(kind=Alert.Kind.GROUPS, settled_at=None, raised_at__lt=now - ALERT_DURATION)
    alerts.settle_alerts(expired)
