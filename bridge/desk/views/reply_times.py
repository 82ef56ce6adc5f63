"""Page of reply times: first replies and closed requests of a period, by channel and operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge.desk import presentation, reply_times
from bridge.desk.reply_times import ReplyTimes
from bridge.desk.views.missed_windows import ReportParams, period_options
from channels_setup.permissions import require_chat_access


@dataclass(frozen=True, kw_only=True)
class TimesLine:
    """Line of a table: the times of one channel or operator, in words."""

    name: str
    times: ReplyTimes

    @property
    def first_reply(self) -> str:
        return format_time(self.times.first_reply)

    @property
    def slow_first_reply(self) -> str:
        return format_time(self.times.slow_first_reply)

    @property
    def closing(self) -> str:
        return format_time(self.times.closing)


@require_chat_access
@require_GET
@never_cache
def show_reply_times(request: HttpRequest) -> HttpResponse:
    params = ReportParams.from_request(request)
    report = reply_times.measure_reply_times(
        since=params.since, channel_ids=params.channel_ids, assignee=params.only_assignee
    )
    channels = {channel.pk: channel.name for channel in params.channels}
    users = get_user_model()._default_manager.in_bulk([line.key for line in report.by_operator if line.key])
    people = {pk: presentation.person_name(user) for pk, user in users.items()}
    context = {
        "params": params,
        "periods": period_options(),
        "total": TimesLine(name="", times=report.total),
        "by_channel": _build_lines(report.by_channel, channels),
        "by_operator": _build_lines(report.by_operator, people),
        "section": "windows",
    }
    return render(request, "bridge/reply_times.html", context)


def _build_lines(found: list[ReplyTimes], names: dict[int, str]) -> list[TimesLine]:
    """Name the lines, most requests first."""
    lines = [TimesLine(name=names.get(times.key or 0) or _("No assignee"), times=times) for times in found]
    return sorted(lines, key=lambda line: (-line.times.requests, line.name))


def format_time(span: timedelta | None) -> str:
    """Format a time of the report: ``12 min``, ``3 h 5 min``, from two days on ``3 d``."""
    if span is None:
        return "—"
    return presentation.format_waiting(span) if span >= timedelta(days=2) else presentation.format_duration(span)
