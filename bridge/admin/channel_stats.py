"""Statistics of an API channel for its admin page: today's numbers, problems and the latest events.

Every query uses an index or reads only today's rows, whatever the size of the tables.
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
from bridge.outbox import resend
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers.base import ACCEPTED

COUNT_LIMIT = 1_000  # counts stop here: "1,000 or more" is enough
SMALL_TABLE_IDS = 50_000  # tables with fewer IDs are read whole
HOURS = 24
CHART_WIDTH, CHART_HEIGHT = 600, 120  # of the chart's view box


@dataclass(frozen=True, kw_only=True)
class ChannelStats:
    inbound: int
    outbound: int
    first_try_share: float | None  # percent of today's messages accepted at the first attempt
    waiting: int
    waiting_since: datetime | None
    next_attempt: datetime | None  # after failures
    dead: int
    median_ms: int | None
    error: str
    is_error_in_alerts: bool  # an alert already contains the error
    help: str  # a value of outcomes.SuggestedAction: the button for the error
    error_at: datetime | None
    alerts: list[str]
    chart: HourlyChart
    last_events: list[WebhookEvent]


@dataclass(frozen=True, kw_only=True)
class HourlyChart:
    """Paths of an SVG chart of counts by hour. Its view box is CHART_WIDTH × CHART_HEIGHT."""

    inbound: str
    inbound_area: str
    outbound: str
    failures: list[tuple[float, float]]  # x and y of each hour's bar
    busiest: int  # messages in the busiest hour of one direction


def collect_channel_stats(channel: ApiChannel) -> ChannelStats:
    """Return the statistics of one channel for today."""
    now = timezone.now()
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = count_messages_by_hour([channel.pk], midnight)[channel.pk]
    inbound, outbound = hours[Message.Direction.INBOUND], hours[Message.Direction.OUTBOUND]
    attempts = find_attempts_since([channel.pk], midnight)
    first_attempts = attempts.filter(number=1, delivery__kind=Delivery.Kind.MESSAGE).aggregate(
        all=Count("pk"), accepted=Count("pk", filter=Q(verdict=ACCEPTED))
    )
    unfinished = Delivery.objects.filter(api_channel=channel, state__in=Delivery.UNFINISHED)
    error = describe_last_error(channel)
    sentences = [alerts.describe_alert(alert) for alert in find_open_alerts().filter(api_channel=channel)]
    return ChannelStats(
        inbound=sum(inbound),
        outbound=sum(outbound),
        first_try_share=100 * first_attempts["accepted"] / first_attempts["all"] if first_attempts["all"] else None,
        waiting=unfinished[:COUNT_LIMIT].count(),
        waiting_since=unfinished.aggregate(since=Min("created_at"))["since"],
        next_attempt=_get_next_attempt(channel, now=now),
        dead=Delivery.objects.filter(api_channel=channel, state__in=resend.UNRESOLVED_STATES)[:COUNT_LIMIT].count(),
        median_ms=_compute_median_ms(attempts.filter(started_at__gte=now - timedelta(hours=1))),
        error=error,
        is_error_in_alerts=any(error in sentence for sentence in sentences),
        help=outcomes.suggest_action(channel.last_error, for_admin=True),
        error_at=channel.last_error_at,
        alerts=sentences,
        chart=draw_hourly_chart(
            inbound,
            outbound,
            count_failures_by_hour([channel.pk], attempts)[channel.pk],
            until=timezone.localtime(now).hour,
        ),
        last_events=list(WebhookEvent.objects.filter(api_channel=channel).order_by("-id").defer("body")[:5]),
    )


def _get_next_attempt(channel: ApiChannel, *, now: datetime) -> datetime | None:
    """Return the time of the next attempt after failures: an open breaker's probe, else the first retry."""
    if breaker := CircuitBreaker.objects.filter(api_channel=channel, is_open=True).first():
        return breaker.probe_at
    retry = circuit_breaker.find_waiting_deliveries(channel.pk, now=now).first()
    return retry.next_attempt_at if retry else None


def find_open_alerts() -> models.QuerySet[Alert]:
    """Return open alerts, newest first, without those about a pause that has ended: the next review settles them."""
    ended_pause = Q(kind=Alert.Kind.SWITCHED_OFF) & ~Q(api_channel__state=ChannelState.PAUSED)
    return (
        Alert.objects.filter(settled_at=None).exclude(ended_pause).select_related("api_channel").order_by("-raised_at")
    )


def describe_last_error(channel: ApiChannel) -> str:
    """Return the sentence for the channel's last error, or ""."""
    return outcomes.render_sentence(channel.last_error, for_admin=True) if channel.last_error else ""


def find_first_id_since(model: type[models.Model], column: str, moment: datetime) -> int:
    """Return the smallest ID whose row is not older than ``moment``, by binary search: IDs grow with time.

    A query for today's rows thus needs no index on the time. In a small table, where the sandbox clock may have moved
    rows into the past, return 1.
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


def count_messages_by_hour(channels: Sequence[int], midnight: datetime) -> dict[int, dict[str, list[int]]]:
    """Return channel ID -> direction -> count by hour of the day, for messages since ``midnight``. Runs one query."""
    counts: dict[int, dict[str, list[int]]] = {
        pk: {direction: [0] * HOURS for direction in Message.Direction.values} for pk in channels
    }
    first = find_first_id_since(Message, "created_at", midnight)
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


def count_failures_by_hour(channels: Sequence[int], attempts: models.QuerySet[Attempt]) -> dict[int, list[int]]:
    """Return channel ID -> count by hour of the day, for those of these attempts that failed. Runs one query."""
    counts = {pk: [0] * HOURS for pk in channels}
    failed = attempts.exclude(verdict=ACCEPTED).annotate(hour=ExtractHour("started_at"))
    for channel, hour, count in failed.values_list("delivery__api_channel", "hour").annotate(count=Count("pk")):
        counts[channel][hour] += count
    return counts


def find_attempts_since(channels: Sequence[int], moment: datetime) -> models.QuerySet[Attempt]:
    """Return the attempts on these channels since ``moment``."""
    return Attempt.objects.filter(
        pk__gte=find_first_id_since(Attempt, "started_at", moment),
        started_at__gte=moment,
        delivery__api_channel__in=channels,
    ).order_by()


class _Median(models.Aggregate):
    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = models.FloatField()


def _compute_median_ms(attempts: models.QuerySet[Attempt]) -> int | None:
    median = attempts.filter(http_status__isnull=False).aggregate(median=_Median("duration_ms"))["median"]
    return None if median is None else round(median)


def draw_hourly_chart(inbound: list[int], outbound: list[int], failures: list[int], *, until: int) -> HourlyChart:
    """Draw a chart of counts by hour, up to and including the hour ``until``."""
    busiest = max([*inbound, *outbound])
    peak = max(busiest, 1)
    most_failures = max([*failures, 1])
    xs = [(hour + 0.5) * CHART_WIDTH / HOURS for hour in range(until + 1)]
    line = _build_svg_path(xs, inbound, peak)
    return HourlyChart(
        inbound=line,
        inbound_area=f"{line} L{xs[-1]:g} {CHART_HEIGHT} L{xs[0]:g} {CHART_HEIGHT} Z",
        outbound=_build_svg_path(xs, outbound, peak),
        failures=[
            (x, CHART_HEIGHT - 6 - 24 * count / most_failures) for x, count in zip(xs, failures, strict=False) if count
        ],
        busiest=busiest,
    )


def _build_svg_path(xs: list[float], counts: list[int], peak: int) -> str:
    points = [
        f"{x:g} {CHART_HEIGHT - 4 - (CHART_HEIGHT - 16) * count / peak:.1f}"
        for x, count in zip(xs, counts, strict=False)
    ]
    return "M" + " L".join(points)
