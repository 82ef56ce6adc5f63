"""Chat list: parameters from the query string, groups by window state, one page at a time.

Keyset pagination: the cursor names the last row's group, sort value and ID, so that every page costs the same. At most
one query per group, two of the closed ones, and a few for all rows together.

The default order shows clients who wait for a reply first: those whose window closes soon, then the longest waiting.
Chats with a closed window come last, because only a template can be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

from bridge.conversations import chat_pins
from bridge.desk import filters, presentation, snooze_menu
from bridge.desk.parameters import parse_int
from bridge.desk.urls import url_factory
from bridge.models import ACTIVE_STATUSES, Message
from bridge.service_window import WINDOW_LENGTH
from channels_setup.codecs.values import parse_iso_time
from channels_setup.providers import messengers

from . import queries, search, tagged, window_queries
from .rows import ChatRow

PAGE = 40
MAX_COUNTED = 99  # counts above this are shown as 99+

CLOSING, OPEN, CLOSED, NEWEST = "closing", "open", "closed", "newest"
WINDOWS: dict[str, Promise] = {
    CLOSING: pgettext_lazy("group of chats", "Window closing soon"),
    OPEN: pgettext_lazy("group of chats", "Open"),
    CLOSED: pgettext_lazy("group of chats", "Closed: template only"),
}
PINNED, URGENT, LONGEST, ANSWERED = "pinned", "urgent", "longest", "answered"
GROUPS: dict[str, Promise] = WINDOWS | {
    PINNED: pgettext_lazy("group of chats", "Pinned"),
    URGENT: WINDOWS[CLOSING],
    LONGEST: pgettext_lazy("group of chats", "Needs reply"),
    ANSWERED: pgettext_lazy("group of chats", "Answered"),
}
ALL, WAITING, MINE, UNASSIGNED, SNOOZED = "all", "waiting", "mine", "unassigned", "snoozed"
MENTIONED = "mentioned"  # by a note; the tab counts the unread ones
TABS: dict[str, Promise] = {
    ALL: pgettext_lazy("chats", "All"),
    WAITING: pgettext_lazy("chats", "Needs reply"),
    MINE: pgettext_lazy("chats", "Mine"),
    UNASSIGNED: pgettext_lazy("chats", "Unassigned"),
    MENTIONED: pgettext_lazy("chats", "Mentions"),
    SNOOZED: pgettext_lazy("chats", "Snoozed"),
}
TAB_CONDITIONS = {
    WAITING: queries.WAITING_SQL,
    MINE: queries.MINE_SQL,
    UNASSIGNED: queries.UNASSIGNED_SQL,
    MENTIONED: queries.MENTIONED_SQL,
    SNOOZED: queries.SNOOZED_SQL,
}
TIME_LEFT = "left"
SORTS: dict[str, Promise] = {
    CLOSING: gettext_lazy("Needs reply first"),
    TIME_LEFT: gettext_lazy("Least time left first"),
    NEWEST: gettext_lazy("Newest first"),
}
FILTERS = ("channel", "status", "team", "window", "assignee", "tag", "period", "since", "until", "sort")


@dataclass(frozen=True, kw_only=True)
class ChatListParams(filters.SharedFilters):
    """Filters, order and cursor of the list, from the query string. Days are those of the last message."""

    tab: str = ALL
    query: str = ""
    window: str = ""
    sort: str = CLOSING
    cursor: tuple[str, datetime, int] | None = None  # group, sort value, id of the last row of the page before
    current: int | None = None  # the open chat

    @classmethod
    def from_request(cls, request: HttpRequest, *, current: int | None = None) -> ChatListParams:
        return cls.from_values(request.GET, current=current)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, current: int | None = None) -> ChatListParams:
        return cls(
            tab=_choose_known(TABS, values.get("tab"), ALL),
            query=values.get("q", "").replace("\0", "").strip()[:80],
            window=_choose_known(WINDOWS, values.get("window"), ""),
            sort=_choose_known(SORTS, values.get("sort"), CLOSING),
            cursor=_parse_cursor(values.get("after", "")),
            current=current,
            **filters.parse_shared(values),
        )

    @property
    def non_default(self) -> dict[str, str]:
        """Return the parameters that differ from the defaults. Every link of the desk keeps them."""
        values = {
            "tab": "" if self.tab == ALL else self.tab,
            "q": self.query,
            **self.shared_values,
            "window": self.window,
            "sort": "" if self.sort == CLOSING else self.sort,
        }
        return {key: value for key, value in values.items() if value}

    @property
    def filters(self) -> int:
        """Count the filters that are set, without tab and search."""
        return sum(key in self.non_default for key in FILTERS)

    @property
    def statuses(self) -> list[int]:
        if self.status == filters.LIVE:
            return [int(status) for status in queries.LIVE_STATUSES]
        return [int(self.status)] if self.status else []


@dataclass(frozen=True, kw_only=True)
class ChatGroup:
    key: str
    title: Promise | str
    rows: list[ChatRow]
    has_title: bool  # False if the page continues the previous page's group


@dataclass(frozen=True, kw_only=True)
class ChatPage:
    groups: list[ChatGroup]
    next_cursor: str
    is_cut: bool = False  # the search took too long, and did not look everywhere

    @property
    def rows(self) -> Iterator[ChatRow]:
        return (row for group in self.groups for row in group.rows)


def build_list_page(
    params: ChatListParams, *, channels: Sequence[int], user: Any, now: datetime, limit: int | None = None
) -> ChatPage:
    """Build one page of the list. The user's pinned chats come first, except in a search."""
    searched = search.search_chats(channels, params.query) if params.query else search.Hits()
    hits = searched.by_chat
    pinned = [] if params.query else chat_pins.find_pinned(user.pk)
    scope = build_scope(params, channels=channels, user=user, now=now, hits=list(hits), pinned=pinned)
    found, next_cursor = _find_page(scope, params, limit=limit or PAGE)
    titles = GROUPS | ({NEWEST: SORTS[NEWEST]} if pinned else {})
    rows_by_chat = _build_rows(found, params, user=user, hits=hits, now=now)
    groups = [
        ChatGroup(
            key=name,
            title=titles.get(name, ""),
            rows=[rows_by_chat[pk] for pk, _value in rows if pk in rows_by_chat],
            has_title=name in titles and not (params.cursor and params.cursor[0] == name),
        )
        for name, rows in found
    ]
    return ChatPage(groups=groups, next_cursor=next_cursor, is_cut=searched.is_cut)


def find_chats(
    params: ChatListParams, conditions: Sequence[str], *, channels: Sequence[int], user: Any, now: datetime, limit: int
) -> list[int]:
    """Find the chats of the list in its order that also meet the SQL conditions. Return their IDs."""
    scope = build_scope(params, channels=channels, user=user, now=now)
    found, _next_cursor = _find_page(replace(scope, conditions=[*scope.conditions, *conditions]), params, limit=limit)
    return [pk for _name, rows in found for pk, _value in rows]


def _find_page(
    scope: queries.ListScope, params: ChatListParams, *, limit: int
) -> tuple[list[tuple[str, queries.FoundChats]], str]:
    """Find one page of chats by group. Return them and the cursor of the next page, or an empty string."""
    groups = _group_names(params, scope)
    if scope.tag:
        scope = tagged.find_tagged_chats(scope)
    names = [PINNED] * bool(scope.pinned) + groups
    first = names.index(params.cursor[0]) if params.cursor and params.cursor[0] in names else 0
    found: list[tuple[str, queries.FoundChats]] = []
    remaining, next_cursor = limit, ""
    for name in names[first:]:
        after = params.cursor[1:] if params.cursor and params.cursor[0] == name else None
        rows = _find_group(scope, name, params, after=after, limit=remaining + 1)
        if shown := rows[:remaining]:
            found.append((name, shown))
        remaining -= len(shown)
        if len(rows) > len(shown) or (not remaining and name != names[-1]):
            next_cursor = _next_cursor(found)
            break
    return found, next_cursor


@dataclass(frozen=True, kw_only=True)
class ListSummary:
    """Data of the list besides its rows."""

    now: datetime
    version: str
    last_warning: int  # a new page shows only later reminders
    counts: dict[str, int]  # by tab, capped at MAX_COUNTED + 1


def load_list_summary(channels: Sequence[int], *, user: Any) -> ListSummary:
    """Load the summary with one query."""
    now, version, last, *counts = queries.load_summary(channels, me=user.pk, cap=MAX_COUNTED + 1)
    return ListSummary(
        now=now,
        version=version,
        last_warning=last,
        counts=dict(zip((WAITING, MINE, UNASSIGNED, MENTIONED), counts, strict=True)),
    )


def _group_names(params: ChatListParams, scope: queries.ListScope) -> list[str]:
    """List the groups in order. A search and "newest first" have a single group."""
    if params.query or params.sort == NEWEST:
        return [NEWEST]
    if params.sort == TIME_LEFT:
        found = [name for name in WINDOWS if params.window in ("", name)]
    else:
        names = {"": [URGENT, LONGEST, ANSWERED, CLOSED], CLOSING: [URGENT, ANSWERED], OPEN: [LONGEST, ANSWERED]}
        found = names.get(params.window, [CLOSED])
    return [name for name in found if name not in _empty_groups(params, scope)]


def _empty_groups(params: ChatListParams, scope: queries.ListScope) -> set[str]:
    """Return the groups that the tab and the filters leave empty, so that no query looks for their chats."""
    empty = {ANSWERED} if params.tab == WAITING else set()
    if params.tab == SNOOZED or (scope.statuses and not set(ACTIVE_STATUSES).intersection(scope.statuses)):
        empty |= {URGENT, LONGEST}  # chats that need a reply are neither snoozed nor closed
    if scope.until_day and scope.until_day <= scope.now - WINDOW_LENGTH and not scope.unrestricted:
        empty |= {*GROUPS} - {CLOSED}  # no window is open that long after the last message
    return empty


def build_scope(
    params: ChatListParams,
    *,
    channels: Sequence[int],
    user: Any,
    now: datetime,
    hits: Sequence[int] = (),
    pinned: Sequence[int] = (),
    lookups: filters.Lookups | None = None,
) -> queries.ListScope:
    """Build the scope of a list. ``pinned``: a group of its own; ``lookups``: values read for many lists at once."""
    lookups = lookups or filters.Lookups(user=user)
    channel_ids = [pk for pk in channels if params.channel in (None, pk)]
    since_day, until_day = params.day_bounds
    return queries.ListScope(
        channels=channel_ids,
        me=user.pk,
        now=now,
        soon=now + presentation.WARNING_BELOW,
        unrestricted=[kind for kind, provider in messengers().items() if not provider.service_window],
        conditions=_filter_conditions(params, now=now),
        assignee=int(params.assignee) if params.assignee.isdecimal() else None,
        tag=params.tag,
        since_day=since_day,
        until_day=until_day,
        statuses=params.statuses,
        teams=lookups.list_teams(params.team) if params.team else None,
        hits=list(hits) if params.query else None,
        pinned=list(pinned),
    )


def _filter_conditions(params: ChatListParams, *, now: datetime) -> list[str]:
    """Return the SQL conditions of the tab and of the filters by assignee and day. All chats were before tomorrow."""
    conditions = [TAB_CONDITIONS[params.tab]] if params.tab in TAB_CONDITIONS else []
    if params.assignee:
        by_assignee = {filters.ME: queries.MINE_SQL, filters.NOBODY: queries.NOBODY_SQL}
        conditions.append(by_assignee.get(params.assignee, queries.ASSIGNEE_SQL))
    since_day, until_day = params.day_bounds
    if since_day:
        conditions.append(queries.SINCE_SQL)
    if until_day and until_day <= now:
        conditions.append(queries.UNTIL_SQL)
    return conditions


def list_statements(
    scope: queries.ListScope, params: ChatListParams, *, limit: int
) -> list[tuple[str, dict[str, Any]]]:
    """Return the statements, and their values, that find the chats of the list without its order. None is run."""
    statements: list[tuple[str, dict[str, Any]]] = []

    def collect(statement: str, values: dict[str, Any]) -> queries.FoundChats:
        statements.append((statement, values))
        return []

    _find_group(replace(scope, fetch=collect), NEWEST, params, after=None, limit=limit)
    return statements


def _find_group(
    scope: queries.ListScope, name: str, params: ChatListParams, *, after: tuple[datetime, int] | None, limit: int
) -> queries.FoundChats:
    if scope.pinned:
        pinned = queries.PINNED_SQL if name == PINNED else queries.NOT_PINNED_SQL
        scope = replace(scope, conditions=[*scope.conditions, pinned])
    if name == URGENT:
        return window_queries.find_closing_first(
            scope.recent, queries.WAITING_SQL, since=scope.now, until=scope.soon, after=after, limit=limit
        )
    if name == LONGEST:
        return window_queries.find_longest_waiting(scope.recent, after=after, limit=limit)
    if name == CLOSING:
        return window_queries.find_closing_first(
            scope.recent, since=scope.now, until=scope.soon, after=after, limit=limit
        )
    if name == OPEN and not scope.unrestricted:
        return window_queries.find_closing_first(scope.recent, since=scope.soon, until=None, after=after, limit=limit)
    # The others are ordered by last message.
    conditions = [queries.NOT_WAITING_SQL] if name == ANSWERED else []
    window = params.window if name in (NEWEST, PINNED, ANSWERED) else name
    if window == CLOSING:
        return window_queries.find_closing_newest(scope.recent, *conditions, after=after, limit=limit)
    if window == CLOSED:
        return window_queries.find_closed(scope, *conditions, after=after, limit=limit)
    if window == OPEN:
        conditions.append(window_queries.stays_open_condition(scope))
    elif name == ANSWERED:
        conditions.append(window_queries.open_condition(scope))
    return queries.find_newest(scope.recent if conditions else scope, *conditions, after=after, limit=limit)


def _build_rows(
    found: list[tuple[str, queries.FoundChats]],
    params: ChatListParams,
    *,
    user: Any,
    hits: dict[int, search.Hit],
    now: datetime,
) -> dict[int, ChatRow]:
    """Build rows by chat ID: one query, and up to two more for search hits."""
    ids = [pk for _name, rows in found for pk, _value in rows]
    messages = {}
    if params.query:
        message_ids = [found_id for pk in ids if pk in hits and (found_id := hits[pk].message)]
        messages = {row.conversation_id: row for row in Message.objects.filter(pk__in=message_ids)}
        hits = search.name_mentions({pk: hits[pk] for pk in ids if pk in hits})
    address = url_factory("chat")
    return {
        shown.chat: _build_row(
            shown,
            params,
            me=user.pk,
            address=address,
            hit=messages.get(shown.chat),
            found=hits.get(shown.chat),
            now=now,
        )
        for shown in queries.load_row_data(ids, me=user.pk)
    }


def build_rows(
    chats: Sequence[int], *, user: Any, now: datetime, params: ChatListParams | None = None
) -> list[ChatRow]:
    """Build the rows of these chats in the same order, with one query. ``params``: of the list that shows them."""
    address, params = url_factory("chat"), params or ChatListParams()
    rows = {
        shown.chat: _build_row(shown, params, me=user.pk, address=address, hit=None, now=now)
        for shown in queries.load_row_data(chats, me=user.pk)
    }
    return [rows[pk] for pk in chats if pk in rows]


def _build_row(
    shown: queries.ChatRowData,
    params: ChatListParams,
    *,
    me: int,
    address: Callable[[int], str],
    hit: Message | None,
    found: search.Hit | None = None,
    now: datetime,
) -> ChatRow:
    is_unrestricted = not messengers()[shown.kind].service_window
    written_at = shown.last_written_at or shown.last_message_at
    window = presentation.window_from_expiry(shown.expires_at, is_unrestricted=is_unrestricted, now=now)
    return ChatRow(
        shown=shown,
        window=window,
        snoozed=snooze_menu.describe_snooze(shown.snoozed_until, now=now) if shown.snoozed_until else "",
        waiting=presentation.format_waiting(now - shown.waiting_since) if shown.waiting_since else "",
        moment="" if window.state == "open" else presentation.format_short_moment(written_at, now=now),
        received=presentation.format_moment(shown.last_message_at, now=now) if shown.last_written_at else "",
        address=address(shown.chat) + list_query_string(params.non_default | ({"at": str(hit.pk)} if hit else {})),
        is_current=shown.chat == params.current,
        is_mine=shown.assignee_id == me,
        hit=hit,
        found=found,
        query=params.query,
    )


def list_query_string(params: dict[str, str]) -> str:
    """Return the parameters as a query string with ``?``, or an empty string."""
    values = {key: value for key, value in params.items() if (key, value) != ("tab", ALL)}
    return f"?{urlencode(values)}" if values else ""


def _next_cursor(found: list[tuple[str, queries.FoundChats]]) -> str:
    group, rows = found[-1]
    pk, value = rows[-1]
    return f"{group}~{value.isoformat()}~{pk}"


def _parse_cursor(text: str) -> tuple[str, datetime, int] | None:
    """Parse a cursor. Return None (first page) for an invalid one."""
    group, _tilde, rest = text.partition("~")
    value, _tilde, pk = rest.rpartition("~")
    at, number = parse_iso_time(value), parse_int(pk)
    if group not in (*GROUPS, NEWEST) or at is None or number is None:
        return None
    return group, at, number


def _choose_known(known: dict[str, Promise], value: str | None, default: str) -> str:
    return value if value in known else default
