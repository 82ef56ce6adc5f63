"""The list of chats: three groups by what the window allows, a page at a time, a fixed number of queries.

Pages go by keyset: the cursor names the last row's group, sort value and id, so that the thousandth page costs
what the first one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from bridge.models import Conversation, Message, ServiceWindow, Ticket
from channels_setup.providers import messengers

from . import presentation
from .access import visible

PAGE = 40
MOST_COUNTED = 99  # a number beside a tab is not worth counting further

CLOSING, OPEN, SHUT = "closing", "open", "shut"
GROUPS: dict[str, Promise] = {
    CLOSING: pgettext_lazy("group of chats", "Window closing soon"),
    OPEN: pgettext_lazy("group of chats", "Open"),
    SHUT: pgettext_lazy("group of chats", "Shut: template only"),
}
ALL, WAITING, MINE, UNASSIGNED = "all", "waiting", "mine", "unassigned"
TABS: dict[str, Promise] = {
    ALL: pgettext_lazy("chats", "All"),
    WAITING: pgettext_lazy("chats", "Waiting for us"),
    MINE: pgettext_lazy("chats", "Mine"),
    UNASSIGNED: pgettext_lazy("chats", "Unassigned"),
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the list shows, as its address says."""

    tab: str
    query: str
    cursor: tuple[str, str, int] | None  # group, sort value, id of the last row of the page before
    current: int | None  # the chat that is open beside it

    @classmethod
    def of(cls, request: HttpRequest, *, current: int | None = None) -> Wanted:
        tab = request.GET.get("tab", ALL)
        return cls(
            tab=tab if tab in TABS else ALL,
            query=request.GET.get("q", "").replace("\0", "").strip()[:80],
            cursor=_cursor(request.GET.get("after", "")),
            current=current,
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    conversation: Conversation
    name: str
    window: presentation.WindowView
    moment: str
    is_current: bool

    @property
    def initials(self) -> str:
        return self.conversation.contact.initials

    @property
    def last_is_ours(self) -> bool:
        return self.conversation.last_direction == Message.Direction.OUTBOUND

    @property
    def version(self) -> str:
        """Changes when the row must be drawn anew."""
        row, window = self.conversation, self.window
        parts = (row.last_message_at, row.unread, row.assignee_id, self.name, self.moment)
        return " ".join(map(str, (*parts, window.expires_at, window.level, self.is_current)))


@dataclass(frozen=True, kw_only=True)
class Group:
    key: str
    title: Promise
    rows: list[Row]
    has_title: bool  # not on a page that goes on with the group of the page before


@dataclass(frozen=True, kw_only=True)
class Page:
    groups: list[Group]
    next_cursor: str

    @property
    def rows(self) -> Iterator[Row]:
        return (row for group in self.groups for row in group.rows)


def page(request: HttpRequest, wanted: Wanted, *, now: datetime) -> Page:
    """One page of the list: at most one query for each group."""
    found = _found(request, wanted)
    names = list(GROUPS)
    first = names.index(wanted.cursor[0]) if wanted.cursor else 0
    groups: list[Group] = []
    room = PAGE
    for name in names[first:]:
        cursor = wanted.cursor if wanted.cursor and wanted.cursor[0] == name else None
        rows = list(_group(found, name, cursor, now=now)[: room + 1])
        more = len(rows) > room
        shown = [_row(row, wanted, now=now) for row in rows[:room]]
        if shown:
            groups.append(Group(key=name, title=GROUPS[name], rows=shown, has_title=cursor is None))
        room -= len(shown)
        if more or (not room and name != SHUT):
            return Page(groups=groups, next_cursor=_next(groups))
    return Page(groups=groups, next_cursor="")


def counts(request: HttpRequest) -> dict[str, int]:
    """The numbers beside the tabs, counted to MOST_COUNTED + 1 and no further."""
    seen, user = visible(request), request.user
    found = {
        WAITING: _tab(seen, WAITING, user),
        MINE: _tab(seen, MINE, user).filter(_live_ticket()),
        UNASSIGNED: _tab(seen, UNASSIGNED, user),
    }
    return {tab: rows.order_by()[: MOST_COUNTED + 1].count() for tab, rows in found.items()}


def _found(request: HttpRequest, wanted: Wanted) -> QuerySet[Conversation]:
    latest = ServiceWindow.objects.filter(conversation=OuterRef("pk")).order_by("-expires_at")
    rows = _tab(visible(request), wanted.tab, request.user)
    rows = searched(rows, wanted.query)
    return rows.select_related("contact", "assignee", "api_channel").annotate(
        expires_at=Subquery(latest.values("expires_at")[:1])
    )


def searched(rows: QuerySet[Conversation], query: str) -> QuerySet[Conversation]:
    return rows.filter(_matches(query)) if query else rows


def _matches(query: str) -> Q:
    """By name, by the digits of a phone, or by the provider's id."""
    digits = "".join(character for character in query if character.isdigit())
    by = Q(contact__name__icontains=query) | Q(contact__external_id=query)
    if len(digits) >= 3 and not any(character.isalpha() for character in query):
        by |= Q(contact__phone__contains=digits)
    return by


def _tab(rows: QuerySet[Conversation], tab: str, user: Any) -> QuerySet[Conversation]:
    if tab == MINE:
        return rows.filter(assignee=user)
    if tab == UNASSIGNED:
        return rows.filter(_live_ticket(), assignee=None)
    if tab == WAITING:
        return rows.filter(_live_ticket(), last_direction=Message.Direction.INBOUND)
    return rows


def _live_ticket() -> Exists:
    """A request that somebody still has to do something about."""
    at_work = (Ticket.Status.NEW, Ticket.Status.OPEN)
    return Exists(Ticket.objects.filter(conversation=OuterRef("pk"), status__in=at_work))


def _group(
    found: QuerySet[Conversation], name: str, cursor: tuple[str, str, int] | None, *, now: datetime
) -> QuerySet[Conversation]:
    soon = now + presentation.SOON
    free = [kind for kind, provider in messengers().items() if not provider.service_window]
    if name == CLOSING:
        rows = found.exclude(api_channel__kind__in=free) if free else found
        rows = rows.filter(
            windows__state=ServiceWindow.State.OPEN, windows__expires_at__gt=now, windows__expires_at__lt=soon
        ).order_by("windows__expires_at", "pk")
        if cursor:
            after = datetime.fromisoformat(cursor[1])
            rows = rows.filter(Q(windows__expires_at__gt=after) | Q(windows__expires_at=after, pk__gt=cursor[2]))
        return rows
    open_ones = ServiceWindow.objects.filter(conversation=OuterRef("pk"), state=ServiceWindow.State.OPEN)
    if name == OPEN:
        rows = found.filter(Exists(open_ones.filter(expires_at__gte=soon)) | Q(api_channel__kind__in=free))
    else:
        rows = found.filter(~Exists(open_ones.filter(expires_at__gt=now))).exclude(api_channel__kind__in=free)
    if cursor:
        before = datetime.fromisoformat(cursor[1])
        # The first bound is what lets the index begin at the right place; the second settles equal times.
        rows = rows.filter(last_message_at__lte=before).filter(Q(last_message_at__lt=before) | Q(pk__lt=cursor[2]))
    return rows.order_by("-last_message_at", "-pk")


def _row(conversation: Conversation, wanted: Wanted, *, now: datetime) -> Row:
    expires_at: datetime | None = getattr(conversation, "expires_at", None)
    return Row(
        conversation=conversation,
        name=presentation.contact_name(conversation.contact),
        window=presentation.window_of_row(conversation, expires_at, now=now),
        moment=presentation.short_moment(conversation.last_message_at, now=now),
        is_current=conversation.pk == wanted.current,
    )


def _next(groups: list[Group]) -> str:
    group, last = groups[-1], groups[-1].rows[-1]
    value = last.window.expires_at if group.key == CLOSING else last.conversation.last_message_at
    assert value is not None
    return f"{group.key}~{value.isoformat()}~{last.conversation.pk}"


def _cursor(text: str) -> tuple[str, str, int] | None:
    """The cursor in an address; None (the first page) where it is none of ours."""
    group, _tilde, rest = text.partition("~")
    value, _tilde, pk = rest.rpartition("~")
    try:
        moment = datetime.fromisoformat(value)
        number = int(pk[:18])
    except ValueError:
        return None
    if group not in GROUPS or moment.tzinfo is None:
        return None
    return group, moment.isoformat(), number
