"""What was seen of an API channel: today's numbers, what is stuck, the last events. For the channel's admin page.

Every question here is answered from an index or from today's rows alone, however many lie below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Count, Min, Q
from django.db.models.functions import ExtractHour
from django.utils import timezone

from bridge import outcomes
from bridge.channel_health import alerts, circuit_breaker
from bridge.models import Alert, Attempt, CircuitBreaker, Delivery, Message, WebhookEvent
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers.base import ACCEPTED

COUNT_LIMIT = 1_000  # counted no further than this: "1,000 or more" is as good
SMALL_TABLE_IDS = 50_000  # ids: a table below this is simply read
HOURS = 24
CHART_WIDTH, CHART_HEIGHT = 600, 120  # of the plot
TROUBLE_STATES = (Delivery.State.DEAD, Delivery.State.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class ChannelStats:
    inbound: int
    outbound: int
    first_try_share: float | None  # percent of today's answers that were taken at once
    waiting: int
    waiting_since: datetime | None
    next_try: datetime | None  # after failed ones
    dead: int
    median_ms: int | None
    error: str
    is_error_told: bool  # one of the alerts says it already
    help: str  # the button that helps against it, of outcomes.SuggestedAction
    error_at: datetime | None
    alerts: list[str]
    plot: HourlyChart
    last_events: list[WebhookEvent]


@dataclass(frozen=True, kw_only=True)
class HourlyChart:
    """Today by the hour, as paths of an SVG of WIDTH × HEIGHT."""

    inbound: str
    inbound_area: str
    outbound: str
    failures: list[tuple[float, float]]  # x, y of each hour's bar of failed attempts
    busiest: int  # messages in one hour


def collect_channel_stats(channel: ApiChannel) -> ChannelStats:
    now = timezone.now()
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = messages_by_hour([channel.pk], midnight)[channel.pk]
    inbound, outbound = hours[Message.Direction.INBOUND], hours[Message.Direction.OUTBOUND]
    attempts = attempts_since([channel.pk], midnight)
    firsts = attempts.filter(number=1, delivery__kind=Delivery.Kind.MESSAGE).aggregate(
        all=Count("pk"), accepted=Count("pk", filter=Q(verdict=ACCEPTED))
    )
    unfinished = Delivery.objects.filter(api_channel=channel, state__in=Delivery.UNFINISHED)
    error, told = last_error(channel), [alerts.describe_alert(a) for a in open_alerts().filter(api_channel=channel)]
    return ChannelStats(
        inbound=sum(inbound),
        outbound=sum(outbound),
        first_try_share=100 * firsts["accepted"] / firsts["all"] if firsts["all"] else None,
        waiting=unfinished[:COUNT_LIMIT].count(),
        waiting_since=unfinished.aggregate(since=Min("created_at"))["since"],
        next_try=_next_try(channel, now=now),
        dead=Delivery.objects.filter(api_channel=channel, state__in=TROUBLE_STATES)[:COUNT_LIMIT].count(),
        median_ms=_median_ms(attempts.filter(started_at__gte=now - timedelta(hours=1))),
        error=error,
        is_error_told=any(error in sentence for sentence in told),
        help=outcomes.suggest_action(channel.last_error, for_admin=True),
        error_at=channel.last_error_at,
        alerts=told,
        plot=draw_hourly_chart(
            inbound, outbound, failures_by_hour([channel.pk], attempts)[channel.pk], until=timezone.localtime(now).hour
        ),
        last_events=list(WebhookEvent.objects.filter(api_channel=channel).order_by("-id").defer("body")[:5]),
    )


def _next_try(channel: ApiChannel, *, now: datetime) -> datetime | None:
    """While the breaker is open nothing but its probe goes out."""
    if opened := CircuitBreaker.objects.filter(api_channel=channel, is_open=True).first():
        return opened.probe_at
    first = circuit_breaker.find_waiting_deliveries(channel.pk, now=now).first()
    return first.next_attempt_at if first else None


def open_alerts() -> models.QuerySet[Alert]:
    """Without those of a pause that somebody has ended: housekeeping settles them in its turn."""
    is_over = Q(kind=Alert.Kind.SWITCHED_OFF) & ~Q(api_channel__state=ChannelState.PAUSED)
    return Alert.objects.filter(settled_at=None).exclude(is_over).select_related("api_channel").order_by("-raised_at")


def last_error(channel: ApiChannel) -> str:
    return outcomes.render_sentence(channel.last_error, for_admin=True) if channel.last_error else ""


def first_id_since(model: type[models.Model], column: str, moment: datetime) -> int:
    """The smallest id whose row is no older than ``moment``, found by halving: ids grow with time.

    So "today" needs no index on the time. In a small table (where the training phone may also have moved rows
    into the past) all ids count.
    """
    newest = model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    low, high = 1, newest + 1
    if newest <= SMALL_TABLE_IDS:
        return low
    while low < high:
        middle = (low + high) // 2
        row = model._default_manager.filter(pk__gte=middle).order_by("pk").values_list("pk", column).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low


def messages_by_hour(channels: Sequence[int], midnight: datetime) -> dict[int, dict[str, list[int]]]:
    """Channel -> direction -> how many in each hour since ``midnight``; one question for all channels."""
    counts: dict[int, dict[str, list[int]]] = {
        pk: {direction: [0] * HOURS for direction in Message.Direction.values} for pk in channels
    }
    first = first_id_since(Message, "created_at", midnight)
    rows = (
        Message.objects.filter(api_channel__in=channels, pk__gte=first, created_at__gte=midnight)
        .order_by()
        .annotate(hour=ExtractHour("created_at"))
        .values_list("api_channel", "direction", "hour")
        .annotate(count=Count("pk"))
    )
    for channel, direction, hour, count in rows:
        counts[channel][direction][hour] += count
    return counts


def failures_by_hour(channels: Sequence[int], attempts: models.QuerySet[Attempt]) -> dict[int, list[int]]:
    """Channel -> failed ones of these tries in each hour; one question for all channels."""
    counts = {pk: [0] * HOURS for pk in channels}
    failed = attempts.exclude(verdict=ACCEPTED).annotate(hour=ExtractHour("started_at"))
    for channel, hour, count in failed.values_list("delivery__api_channel", "hour").annotate(count=Count("pk")):
        counts[channel][hour] += count
    return counts


def attempts_since(channels: Sequence[int], moment: datetime) -> models.QuerySet[Attempt]:
    return Attempt.objects.filter(
        pk__gte=first_id_since(Attempt, "started_at", moment),
        started_at__gte=moment,
        delivery__api_channel__in=channels,
    ).order_by()


class _Median(models.Aggregate):
    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = models.FloatField()


def _median_ms(attempts: models.QuerySet[Attempt]) -> int | None:
    median = attempts.filter(http_status__isnull=False).aggregate(median=_Median("duration_ms"))["median"]
    return None if median is None else round(median)


def draw_hourly_chart(inbound: list[int], outbound: list[int], failures: list[int], *, until: int) -> HourlyChart:
    """The day as far as it has come: nothing is drawn for hours after ``until``."""
    busiest = max([*inbound, *outbound])
    peak = max(busiest, 1)
    worst = max([*failures, 1])
    xs = [(hour + 0.5) * CHART_WIDTH / HOURS for hour in range(until + 1)]
    line = _svg_path(xs, inbound, peak)
    return HourlyChart(
        inbound=line,
        inbound_area=f"{line} L{xs[-1]:g} {CHART_HEIGHT} L{xs[0]:g} {CHART_HEIGHT} Z",
        outbound=_svg_path(xs, outbound, peak),
        failures=[(x, CHART_HEIGHT - 6 - 24 * count / worst) for x, count in zip(xs, failures, strict=False) if count],
        busiest=busiest,
    )


def _svg_path(xs: list[float], counts: list[int], peak: int) -> str:
    points = [
        f"{x:g} {CHART_HEIGHT - 4 - (CHART_HEIGHT - 16) * count / peak:.1f}"
        for x, count in zip(xs, counts, strict=False)
    ]
    return "M" + " L".join(points)
