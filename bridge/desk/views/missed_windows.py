"""Report of missed windows (closed with the client's last message unanswered): by channel, operator, team and hour."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import permission_required
from django.db import connection
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import phone_visibility, service_window
from bridge.desk import access, presentation
from bridge.desk.parameters import parse_int
from bridge.models import ServiceWindow
from channels_setup.models import ChatChannel, Team
from channels_setup.permissions import VIEW_REPORTS, require_chat_access
from templates_registry.transfer.file_formats import escape_cell

PERIODS = (7, 30, 90)  # days
DEFAULT_PERIOD = 30
# One pass for all tables and the chart: the join with the chats is most of the work. The database counts by quarters of
# an hour of UTC, and not by local hours: it may not know all of Python's time zones. ``zone``: a number of a time zone.
MISSED_SQL = """
SELECT GROUPING(c.chat_channel_id, w.assignee_id, w.team_id), c.chat_channel_id, w.assignee_id, w.team_id,
    channel.zone, date_bin('15 minutes', w.expires_at, timestamptz 'epoch') AS quarter, count(*)
FROM bridge_servicewindow w JOIN bridge_conversation c ON c.id = w.conversation_id
JOIN unnest(%(channels)s::bigint[], %(zones)s::int[]) AS channel(id, zone) ON channel.id = c.chat_channel_id
WHERE w.missed AND w.expires_at > %(since)s AND c.chat_channel_id = ANY(%(channels)s::bigint[])
    AND (%(assignee)s::bigint IS NULL OR w.assignee_id = %(assignee)s)
GROUP BY GROUPING SETS ((c.chat_channel_id), (w.assignee_id), (w.team_id), (channel.zone, quarter))
"""
BY_CHANNEL, BY_OPERATOR, BY_TEAM, BY_HOUR = 3, 5, 6, 7  # values of GROUPING: a bit for each column that is left out
CHART_WIDTH, CHART_HEIGHT, CHART_BASE = 744, 190, 160


@dataclass(frozen=True, kw_only=True)
class MissedCount:
    """Missed windows of one channel, operator or team."""

    name: str
    missed: int
    closed: int | None = None

    @property
    def share(self) -> str:
        return f"{100 * self.missed / self.closed:.0f}\u00a0%" if self.closed else ""


@dataclass(frozen=True, kw_only=True)
class HourBar:
    """One hour of the chart, in SVG units."""

    hour: int
    count: int
    x: int
    y: float
    height: float

    @property
    def middle(self) -> int:
        return self.x + 11

    @property
    def words(self) -> str:
        return f"{self.hour:02}:00–{self.hour:02}:59"


@dataclass(frozen=True, kw_only=True)
class ReportParams:
    days: int
    channel: int | None
    since: datetime
    channels: list[ChatChannel]  # visible to the user
    only_assignee: int | None  # for users who see only their own figures

    @classmethod
    def from_request(cls, request: HttpRequest) -> ReportParams:
        days = parse_int(request.GET.get("days"))
        if days not in PERIODS:
            days = DEFAULT_PERIOD
        since = service_window.database_now() - timedelta(days=days)
        channel = parse_int(request.GET.get("channel"))
        return cls(
            days=days,
            channel=channel,
            since=since,
            channels=access.visible_channels(request),
            only_assignee=None if request.user.has_perm(VIEW_REPORTS) else request.user.pk,
        )

    @property
    def channel_ids(self) -> list[int]:
        return [channel.pk for channel in self.channels if self.channel in (None, channel.pk)]

    @property
    def ids_by_zone(self) -> dict[tzinfo, list[int]]:
        """Return the chosen channels by time zone: their hours are hours of the channel, not of the reader."""
        found: dict[tzinfo, list[int]] = defaultdict(list)
        for channel in self.channels:
            if self.channel in (None, channel.pk):
                found[channel.zone].append(channel.pk)
        return dict(found)

    @property
    def foreign_zones(self) -> list[str]:
        """Return the time zones of the report that differ from the reader's."""
        own = str(timezone.get_current_timezone())
        return sorted({str(zone) for zone in self.ids_by_zone} - {own})

    def missed_windows(self) -> QuerySet[ServiceWindow]:
        return self._filter_windows(missed=True)

    def closed_windows(self) -> QuerySet[ServiceWindow]:
        return self._filter_windows(state=ServiceWindow.State.CLOSED)

    def _filter_windows(self, **conditions: Any) -> QuerySet[ServiceWindow]:
        found = ServiceWindow.objects.filter(expires_at__gt=self.since, **conditions)
        if self.only_assignee is not None:
            found = found.filter(assignee=self.only_assignee)
        return found.filter(conversation__chat_channel__in=self.channel_ids)


def period_options() -> list[tuple[int, str]]:
    return [(days, ngettext("%d day", "%d days", days) % days) for days in PERIODS]


@require_chat_access
@require_GET
@never_cache
def show_missed_windows(request: HttpRequest) -> HttpResponse:
    params = ReportParams.from_request(request)
    counts = _count_missed(params)
    by_channel = _list_channels(params, counts.by_channel)
    missed, closed = sum(line.missed for line in by_channel), sum(line.closed or 0 for line in by_channel)
    context = {
        "params": params,
        "periods": period_options(),
        "missed": missed,
        "closed": closed,
        "share": MissedCount(name="", missed=missed, closed=closed).share,
        "by_channel": by_channel,
        "by_operator": _list_operators(counts.by_operator),
        "by_team": _list_teams(counts.by_team),
        "bars": _hour_bars(counts.by_hour),
        "chart": {"width": CHART_WIDTH, "height": CHART_HEIGHT, "base": CHART_BASE, "label": CHART_BASE + 18},
        "worst_hour": _worst_hour(counts.by_hour),
        "zones": params.foreign_zones,
        "csv_url": f"{reverse('missed-windows-csv')}?days={params.days}"
        + (f"&channel={params.channel}" if params.channel else ""),
        "section": "windows",
    }
    return render(request, "bridge/missed_windows.html", context)


@require_chat_access
@permission_required(VIEW_REPORTS, raise_exception=True)
@require_GET
@never_cache
def download_missed_windows(request: HttpRequest) -> StreamingHttpResponse:
    """Stream one CSV line per missed window."""
    params = ReportParams.from_request(request)
    response = StreamingHttpResponse(_generate_csv_lines(params, request), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="missed-windows-{params.days}d.csv"'
    return response


@dataclass(kw_only=True)
class MissedCounts:
    """Numbers of missed windows by ID of a channel, an operator and a team, and by the hour of closing."""

    by_channel: dict[int, int] = field(default_factory=dict)
    by_operator: dict[int | None, int] = field(default_factory=dict)
    by_team: dict[int | None, int] = field(default_factory=dict)
    by_hour: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # in the time zone of each channel


def _count_missed(params: ReportParams) -> MissedCounts:
    zones = list(params.ids_by_zone)
    numbers = {pk: number for number, zone in enumerate(zones) for pk in params.ids_by_zone[zone]}
    found = MissedCounts()
    values: dict[str, Any] = {
        "channels": list(numbers),
        "zones": list(numbers.values()),
        "since": params.since,
        "assignee": params.only_assignee,
    }
    with connection.cursor() as cursor:
        cursor.execute(MISSED_SQL, values)
        for kind, channel, operator, team, zone, quarter, count in cursor.fetchall():
            if kind == BY_HOUR:
                found.by_hour[quarter.astimezone(zones[zone]).hour] += count
            elif kind == BY_CHANNEL:
                found.by_channel[channel] = count
            elif kind == BY_OPERATOR:
                found.by_operator[operator] = count
            else:
                found.by_team[team] = count
    return found


def _list_channels(params: ReportParams, missed: dict[int, int]) -> list[MissedCount]:
    """List the channels with closed windows, most missed first."""
    rows = params.closed_windows().values_list("conversation__chat_channel").annotate(Count("pk")).order_by()
    names = {channel.pk: channel.name for channel in params.channels}
    lines = [MissedCount(name=names[pk], missed=missed.get(pk, 0), closed=count) for pk, count in rows]
    return sorted(lines, key=lambda line: (-line.missed, line.name))


def _list_operators(counts: dict[int | None, int]) -> list[MissedCount]:
    people = get_user_model()._default_manager.in_bulk([pk for pk in counts if pk is not None])
    lines = [
        MissedCount(name=presentation.person_name(people.get(pk)) or _("No assignee"), missed=count)
        for pk, count in counts.items()
    ]
    return sorted(lines, key=lambda line: (-line.missed, line.name))


def _list_teams(counts: dict[int | None, int]) -> list[MissedCount]:
    """List the teams, most missed first; empty if no missed window had a team."""
    names = dict(Team.objects.filter(pk__in=[pk for pk in counts if pk is not None]).values_list("pk", "name"))
    lines = [MissedCount(name=names.get(pk or 0) or _("No team"), missed=count) for pk, count in counts.items()]
    return sorted(lines, key=lambda line: (-line.missed, line.name)) if names else []


def _worst_hour(by_hour: dict[int, int]) -> int | None:
    """Return the hour with the most missed windows; None for a tie."""
    most = max(by_hour.values(), default=0)
    worst = [hour for hour, count in by_hour.items() if count == most]
    return worst[0] if len(worst) == 1 else None


def _hour_bars(by_hour: dict[int, int]) -> list[HourBar]:
    most = max(by_hour.values(), default=0)
    bars = []
    for hour in range(24):
        count = by_hour.get(hour, 0)
        height = max(round((CHART_BASE - 24) * count / most, 1), 2) if count else 0
        bars.append(HourBar(hour=hour, count=count, x=hour * 31 + 4, y=CHART_BASE - height, height=height))
    return bars


class _Echo:
    """File-like object whose ``write`` returns its argument, for csv.writer."""

    def write(self, line: str) -> str:
        return line


def _generate_csv_lines(params: ReportParams, request: HttpRequest) -> Iterator[str]:
    # Excel takes the separator from the locale: a semicolon where the comma is the decimal separator.
    separator = ";" if formats.get_format("DECIMAL_SEPARATOR") == "," else ","
    writer = csv.writer(_Echo(), delimiter=separator, lineterminator="\r\n")
    titles = (
        _("Channel"),
        _("Operator"),
        _("Client"),
        _("Phone"),
        _("Client wrote"),
        _("Closed"),
        _("Hour"),
        _("Chat"),
        _("Team"),
        _("Time zone"),
    )
    yield "\ufeff" + writer.writerow(titles)  # BOM: Excel needs it to detect UTF-8
    rows = params.missed_windows().select_related(
        "assignee", "team", "conversation__contact", "conversation__chat_channel"
    )
    for window in rows.order_by("expires_at", "pk").iterator(chunk_size=1000):
        conversation, contact = window.conversation, window.conversation.contact
        zone = conversation.chat_channel.zone
        closed = window.expires_at.astimezone(zone)
        yield writer.writerow(
            (
                escape_cell(conversation.chat_channel.name),
                escape_cell(presentation.person_name(window.assignee)),
                escape_cell(phone_visibility.visible_id(contact.shown_name, contact.api_channel_id)),
                escape_cell(phone_visibility.visible_phone(contact)),
                f"{closed - service_window.WINDOW_LENGTH:%Y-%m-%d %H:%M}",
                f"{closed:%Y-%m-%d %H:%M}",
                closed.hour,
                request.build_absolute_uri(reverse("chat", args=[conversation.pk])),
                escape_cell(window.team.name if window.team else ""),
                str(zone),
            )
        )
