"""Filters that the list of chats and the table of requests share: their values in the query string, and days.

Values that a saved view keeps are relative where they can be: ``ME`` is the reader, and a period moves with the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bridge.desk import teams
from bridge.desk.parameters import parse_int
from bridge.desk.tags import find_frequent_tags
from bridge.models import Ticket

LIVE = "live"  # pseudo-status: not closed
ME, NOBODY = "me", "none"  # values of the filter by assignee
TODAY, YESTERDAY, WEEK, MONTH = "today", "yesterday", "week", "month"
PERIODS: dict[str, Promise] = {
    TODAY: _("Today"),
    YESTERDAY: _("Yesterday"),
    WEEK: _("Last 7 days"),
    MONTH: _("Last 30 days"),
}
PERIOD_DAYS = {TODAY: (0, 0), YESTERDAY: (1, 1), WEEK: (6, 0), MONTH: (29, 0)}  # first and last day, days ago
MAX_TAG_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class SharedFilters:
    """Filters of both pages. Their subclasses add the filters and the order of one page."""

    status: str = ""
    channel: int | None = None
    team: str = ""  # a number, or ``teams.MINE``
    assignee: str = ""  # a user's number, ``ME`` or ``NOBODY``
    tag: str = ""  # of the request or of the client
    period: str = ""
    since: date | None = None  # first and last day
    until: date | None = None
    view: int | None = None  # the saved view that was opened; its filters may have been changed since

    @property
    def shared_values(self) -> dict[str, str]:
        """Return the values as in the query string; empty where nothing is filtered."""
        return {
            "channel": str(self.channel or ""),
            "status": self.status,
            "team": self.team,
            "assignee": self.assignee,
            "tag": self.tag,
            "period": self.period,
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "view": str(self.view or ""),
        }

    @property
    def day_bounds(self) -> tuple[datetime | None, datetime | None]:
        """Return when the days begin and end. The end is exclusive."""
        first, last = self.since, self.until
        if self.period:
            today = timezone.localdate()
            begin, end = (today - timedelta(days=days) for days in PERIOD_DAYS[self.period])
            first, last = max(begin, first or begin), min(end, last or end)
        return _day_begin(first), _day_begin(last + timedelta(days=1)) if last else None


@dataclass(kw_only=True)
class Lookups:
    """What filters need from the database, read at most once: which tags are frequent, and the teams of the user."""

    user: Any
    frequent_tags: set[str] | None = None  # None: not read
    teams: dict[str, list[int]] = field(default_factory=dict)

    def is_frequent(self, tag: str) -> bool:
        return tag in (find_frequent_tags([tag]) if self.frequent_tags is None else self.frequent_tags)

    def list_teams(self, value: str) -> list[int]:
        """Return the IDs of the teams that the filter selects."""
        if value not in self.teams:
            self.teams[value] = teams.filtered_ids(value, self.user)
        return self.teams[value]


def parse_shared(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the shared filters. Leave out invalid values."""
    status, period = values.get("status", ""), values.get("period", "")
    return {
        "status": status if status == LIVE or parse_int(status) in Ticket.Status.values else "",
        "channel": parse_int(values.get("channel")),
        "team": teams.parse_filter(values.get("team", "")),
        "assignee": _parse_assignee(values.get("assignee", "")),
        "tag": values.get("tag", "").replace("\0", "").strip().removeprefix("#").strip()[:MAX_TAG_LENGTH],
        "period": period if period in PERIODS else "",
        "since": _parse_day(values.get("since", "")),
        "until": _parse_day(values.get("until", "")),
        "view": parse_int(values.get("view")),
    }


def without_view(values: Mapping[str, str]) -> dict[str, str]:
    """Return the filters themselves, as a saved view keeps them."""
    return {key: value for key, value in values.items() if key != "view"}


def _parse_assignee(value: str) -> str:
    number = parse_int(value)
    return value if value in (ME, NOBODY) else str(number) if number is not None and number > 0 else ""


def _parse_day(value: str) -> date | None:
    """Parse a day (YYYY-MM-DD). Return None for an invalid one, and for one near the ends of the calendar."""
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        return None
    return day if date(1990, 1, 1) <= day <= date(2200, 1, 1) else None


def _day_begin(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time.min)) if day else None
