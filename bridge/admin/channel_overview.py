"""Admin index page: an overview of every API channel's last 24 hours, failing channels first.

A fixed number of queries serves all channels. Each reads only the last day's rows or unfinished rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from bridge.models import CircuitBreaker, Delivery, Message
from bridge.outbox import resend
from channels_setup import permissions
from channels_setup.models import ApiChannel, ChannelState

from . import channel_stats, start_page
from .base import sees_all

MAX_CHANNELS = 24  # more channels are only in the list of API channels
STATE_ORDER: list[str] = [ChannelState.FAILING, ChannelState.PAUSED, ChannelState.LIVE]  # other states follow


@dataclass(frozen=True, kw_only=True)
class ChannelOverview:
    channel: ApiChannel
    url: str
    inbound: int
    outbound: int
    waiting: int
    waiting_since: datetime | None
    dead: int
    error: str
    is_breaker_open: bool  # only probes are sent
    chart: channel_stats.HourlyChart


def add_channel_overviews(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the overviews to the context of the admin index (Unfold's DASHBOARD_CALLBACK)."""
    if sees_all(request.user) and request.user.has_perm(permissions.VIEW_CHANNELS):
        context["warnings"] = start_page.list_warnings([])
        context["overviews"] = build_overviews()
        context["has_more"] = ApiChannel.objects.unarchived().count() > MAX_CHANNELS
    return context


def build_overviews() -> list[ChannelOverview]:
    """Return overviews of up to MAX_CHANNELS channels."""
    now = timezone.localtime()
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=channel_stats.HOURS - 1)
    channels = sorted(ApiChannel.objects.unarchived().prefetch_related("watched").order_by("pk"), key=_state_position)[
        :MAX_CHANNELS
    ]
    ids = [channel.pk for channel in channels]
    messages = channel_stats.count_messages_by_hour(ids, start)
    failures = channel_stats.count_failures_by_hour(ids, channel_stats.find_attempts_since(ids, start))
    waiting = _count_waiting_deliveries(ids)
    undelivered = Delivery.objects.filter(state__in=resend.UNRESOLVED_STATES, api_channel__in=ids).order_by()
    dead = dict(undelivered.values_list("api_channel").annotate(Count("pk")))
    open_breakers = CircuitBreaker.objects.filter(api_channel__in=ids, is_open=True)
    blocked = set(open_breakers.values_list("api_channel", flat=True))
    overviews = []
    for channel in channels:
        inbound = _rotate_hours(start, messages[channel.pk][Message.Direction.INBOUND])
        outbound = _rotate_hours(start, messages[channel.pk][Message.Direction.OUTBOUND])
        count, since = waiting.get(channel.pk, (0, None))
        overviews.append(
            ChannelOverview(
                channel=channel,
                url=reverse("admin:channels_setup_apichannel_change", args=[channel.pk]),
                inbound=sum(inbound),
                outbound=sum(outbound),
                waiting=count,
                waiting_since=since,
                dead=dead.get(channel.pk, 0),
                error=channel_stats.describe_last_error(channel),
                is_breaker_open=channel.pk in blocked,
                chart=channel_stats.draw_hourly_chart(
                    inbound, outbound, _rotate_hours(start, failures[channel.pk]), until=channel_stats.HOURS - 1
                ),
            )
        )
    return overviews


def _rotate_hours(start: datetime, by_hour: list[int]) -> list[int]:
    """Rotate counts by hour of the day, so that the hour of ``start`` is the first."""
    return by_hour[start.hour :] + by_hour[: start.hour]


def _state_position(channel: ApiChannel) -> int:
    return STATE_ORDER.index(channel.state) if channel.state in STATE_ORDER else len(STATE_ORDER)


def _count_waiting_deliveries(ids: Sequence[int]) -> dict[int, tuple[int, datetime]]:
    """Return channel ID -> number of unfinished deliveries, and the time of the oldest one."""
    rows = Delivery.objects.filter(state__in=Delivery.UNFINISHED, api_channel__in=ids).order_by().values("api_channel")
    counts = rows.annotate(count=Count("pk"), since=Min("created_at"))
    return {row["api_channel"]: (row["count"], row["since"]) for row in counts}
