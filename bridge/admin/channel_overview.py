"""The admin's first page: every API channel as a small picture of the last 24 hours, what is in trouble first.

Few questions for all channels together, each answered by the last day's rows or by those that are unfinished.
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
from channels_setup.models import ApiChannel, ChannelState

from . import channel_stats, start_page

MAX_CHANNELS = 24  # channels; a portal with more of them has a list
PERMISSION = "channels_setup.view_apichannel"
STATE_ORDER: list[str] = [ChannelState.FAILING, ChannelState.PAUSED, ChannelState.LIVE]  # any other state comes after


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
    is_breaker_open: bool  # only a probe is sent from time to time
    plot: channel_stats.HourlyChart


def add_channel_overviews(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the page needs beside Django's own (Unfold's DASHBOARD_CALLBACK)."""
    if request.user.has_perm(PERMISSION):
        context["warnings"] = start_page.admin_warnings([])
        context["glances"] = channel_overviews()
        context["has_more"] = ApiChannel.objects.count() > MAX_CHANNELS
    return context


def channel_overviews() -> list[ChannelOverview]:
    now = timezone.localtime()
    begin = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=channel_stats.HOURS - 1)
    channels = sorted(ApiChannel.objects.prefetch_related("watched").order_by("pk"), key=_state_position)[:MAX_CHANNELS]
    ids = [channel.pk for channel in channels]
    messages = channel_stats.messages_by_hour(ids, begin)
    failures = channel_stats.failures_by_hour(ids, channel_stats.attempts_since(ids, begin))
    waiting = _waiting_deliveries(ids)
    troubled = Delivery.objects.filter(state__in=channel_stats.TROUBLE_STATES, api_channel__in=ids).order_by()
    dead = dict(troubled.values_list("api_channel").annotate(Count("pk")))
    open_breakers = CircuitBreaker.objects.filter(api_channel__in=ids, is_open=True)
    stopped = set(open_breakers.values_list("api_channel", flat=True))
    found = []
    for channel in channels:
        inbound = _rotate_hours(begin, messages[channel.pk][Message.Direction.INBOUND])
        outbound = _rotate_hours(begin, messages[channel.pk][Message.Direction.OUTBOUND])
        count, since = waiting.get(channel.pk, (0, None))
        found.append(
            ChannelOverview(
                channel=channel,
                url=reverse("admin:channels_setup_apichannel_change", args=[channel.pk]),
                inbound=sum(inbound),
                outbound=sum(outbound),
                waiting=count,
                waiting_since=since,
                dead=dead.get(channel.pk, 0),
                error=channel_stats.last_error(channel),
                is_breaker_open=channel.pk in stopped,
                plot=channel_stats.draw_hourly_chart(
                    inbound, outbound, _rotate_hours(begin, failures[channel.pk]), until=channel_stats.HOURS - 1
                ),
            )
        )
    return found


def _rotate_hours(begin: datetime, by_hour: list[int]) -> list[int]:
    """Counts by the hour of the day, turned so that the first is that of ``begin``."""
    return by_hour[begin.hour :] + by_hour[: begin.hour]


def _state_position(channel: ApiChannel) -> int:
    return STATE_ORDER.index(channel.state) if channel.state in STATE_ORDER else len(STATE_ORDER)


def _waiting_deliveries(ids: Sequence[int]) -> dict[int, tuple[int, datetime]]:
    """How many deliveries are unfinished, and since when the oldest waits."""
    rows = Delivery.objects.filter(state__in=Delivery.UNFINISHED, api_channel__in=ids).order_by().values("api_channel")
    counted = rows.annotate(count=Count("pk"), since=Min("created_at"))
    return {row["api_channel"]: (row["count"], row["since"]) for row in counted}
