"""Requests page: a filterable table whose rows open the chat at the request. See also ``bulk_actions``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import F, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk import access, presentation, teams
from bridge.desk.parameters import parse_int
from bridge.models import Conversation, ServiceWindow, Ticket
from channels_setup.codecs.values import parse_iso_time
from channels_setup.models import ChatChannel, Team
from channels_setup.permissions import require_chat_access
from channels_setup.providers import messengers

from . import bulk_actions

PAGE = 50
LIVE = "live"  # pseudo-status: not closed
ME, NOBODY = "me", "none"
NEWEST, OLDEST, WINDOW = "newest", "oldest", "window"  # orders; the last one shows open windows only
SORTS = (NEWEST, OLDEST, WINDOW)


@dataclass(frozen=True, kw_only=True)
class RequestTableParams:
    """Filters, order and cursor of the table, from the query string."""

    status: str = ""
    channel: int | None = None
    assignee: str = ""
    team: str = ""  # a number, or ``teams.MINE``
    sort: str = NEWEST
    cursor: tuple[datetime, int] | None = None

    @classmethod
    def from_request(cls, values: QueryDict) -> RequestTableParams:
        status, assignee, sort = values.get("status", ""), values.get("assignee", ""), values.get("sort", "")
        return cls(
            status=status if status == LIVE or parse_int(status) in Ticket.Status.values else "",
            channel=parse_int(values.get("channel")),
            assignee=assignee if assignee in (ME, NOBODY) or parse_int(assignee) else "",
            team=teams.parse_filter(values.get("team", "")),
            sort=sort if sort in SORTS else NEWEST,
            cursor=_parse_cursor(values.get("after", "")),
        )

    @property
    def non_default(self) -> dict[str, str]:
        values = {
            "status": self.status,
            "channel": str(self.channel or ""),
            "assignee": self.assignee,
            "team": self.team,
            "sort": "" if self.sort == NEWEST else self.sort,
        }
        return {key: value for key, value in values.items() if value}

    @property
    def address(self) -> str:
        """Return the query string of this page of the table."""
        after = {"after": f"{self.cursor[0].isoformat()}~{self.cursor[1]}"} if self.cursor else {}
        return urlencode(self.non_default | after)

    def sorted_by(self, sort: str) -> str:
        return "?" + urlencode(replace(self, sort=sort, cursor=None).non_default)


@dataclass(frozen=True, kw_only=True)
class RequestRow:
    ticket: Ticket
    name: str
    assignee: str
    team: str
    opened: str
    first_answer: str
    window: presentation.WindowView


@require_chat_access
@require_GET
@never_cache
def show_requests(request: HttpRequest) -> HttpResponse:
    now = service_window.database_now()
    params = RequestTableParams.from_request(request.GET)
    channels = access.visible_channels(request)
    tickets = list(_find_tickets(params, channels=channels, user=request.user, now=now)[: PAGE + 1])
    next_page = ""
    if len(tickets) > PAGE:
        last = tickets[PAGE - 1]
        value = getattr(last, "closes_at", last.opened_at)
        next_page = "?" + replace(params, cursor=(value, last.pk)).address
    channel_ids = [channel.pk for channel in channels]
    people = bulk_actions.list_channel_assignees(request.user, channel_ids)
    known_teams = teams.list_teams(channel_ids)
    context = {
        "params": params,
        "rows": _build_rows(tickets[:PAGE], now=now),
        "next_page": next_page,
        "filter_fields": _table_filters(params, channels, people, known_teams),
        "columns": _sortable_columns(params),
        "people": people,
        "teams": known_teams,
        "team_prefix": bulk_actions.TEAM_PREFIX,
        "status_actions": bulk_actions.STATUS_ACTIONS,
        "bulk_result": bulk_actions.read_bulk_result(request),
        "section": "requests",
    }
    return render(request, "bridge/requests.html", context)


def _find_tickets(
    params: RequestTableParams, *, channels: list[ChatChannel], user: Any, now: datetime
) -> QuerySet[Ticket]:
    """Find the tickets in order. Channel IDs are passed as numbers, so that PostgreSQL can plan by their frequency."""
    channel_ids = [channel.pk for channel in channels if params.channel in (None, channel.pk)]
    found = Ticket.objects.filter(conversation__chat_channel__in=channel_ids)
    if params.status == LIVE:
        found = found.exclude(status__in=Ticket.ENDED)
    elif params.status:
        found = found.filter(status=int(params.status))
    if params.assignee == NOBODY:
        found = found.filter(assignee=None)
    elif params.assignee:
        found = found.filter(assignee=user.pk if params.assignee == ME else int(params.assignee))
    if params.team:
        found = found.filter(team__in=teams.filtered_ids(params.team, user))
    # Prefetched, because few distinct objects serve all rows; a join would build one per row.
    found = found.select_related("conversation__contact", "conversation__helpdesk_chat").prefetch_related(
        "assignee", "team", "conversation__api_channel", "conversation__chat_channel__helpdesk_connection"
    )
    if params.sort == WINDOW:
        return _order_by_window(found, params, now=now)
    if params.cursor:
        moment, pk = params.cursor
        # The first bound lets the index start at the right place; the second resolves equal times.
        if params.sort == NEWEST:
            found = found.filter(opened_at__lte=moment).filter(Q(opened_at__lt=moment) | Q(pk__lt=pk))
        else:
            found = found.filter(opened_at__gte=moment).filter(Q(opened_at__gt=moment) | Q(pk__gt=pk))
    return found.order_by("opened_at", "pk") if params.sort == OLDEST else found.order_by("-opened_at", "-pk")


def _order_by_window(found: QuerySet[Ticket], params: RequestTableParams, *, now: datetime) -> QuerySet[Ticket]:
    """Order live requests with an open window by closing time."""
    unrestricted = [kind for kind, provider in messengers().items() if not provider.service_window]
    found = found.exclude(status__in=Ticket.ENDED).exclude(conversation__api_channel__kind__in=unrestricted)
    found = found.filter(
        conversation__windows__state=ServiceWindow.State.OPEN, conversation__windows__expires_at__gt=now
    ).annotate(closes_at=F("conversation__windows__expires_at"))
    if params.cursor:
        moment, pk = params.cursor
        found = found.filter(closes_at__gte=moment).filter(Q(closes_at__gt=moment) | Q(pk__gt=pk))
    return found.order_by("closes_at", "pk")


def _table_filters(
    params: RequestTableParams, channels: list[ChatChannel], people: list[dict[str, Any]], known_teams: list[Team]
) -> list[dict[str, Any]]:
    """Build the filter fields with their options."""
    statuses: list[tuple[str, Any]] = [("", _("Any status")), (LIVE, _("Not closed"))]
    statuses += [(str(value), label) for value, label in Ticket.Status.choices]
    assignees = [("", _("Any assignee")), (ME, _("Mine")), (NOBODY, _("No assignee"))]
    assignees += [(str(person["pk"]), person["name"]) for person in people if not person["is_me"]]
    fields = [
        {"name": "status", "title": _("Status"), "value": params.status, "options": statuses},
        {"name": "assignee", "title": _("Assignee"), "value": params.assignee, "options": assignees},
    ]
    if known_teams:
        options = teams.filter_options(known_teams)
        fields.append({"name": "team", "title": _("Team"), "value": params.team, "options": options})
    if len(channels) > 1:
        options = [("", _("All channels")), *((str(channel.pk), channel.name) for channel in channels)]
        fields.append(
            {"name": "channel", "title": _("Channel"), "value": str(params.channel or ""), "options": options}
        )
    return fields


def _sortable_columns(params: RequestTableParams) -> dict[str, dict[str, str]]:
    """Return the link and ``aria-sort`` value of the two sortable columns."""
    opened = OLDEST if params.sort == NEWEST else NEWEST
    order = {NEWEST: "descending", OLDEST: "ascending"}.get(params.sort, "none")
    return {
        "opened": {"address": params.sorted_by(opened), "order": order},
        "window": {"address": params.sorted_by(WINDOW), "order": "ascending" if params.sort == WINDOW else "none"},
    }


def _build_rows(tickets: list[Ticket], *, now: datetime) -> list[RequestRow]:
    expiries = _window_expiries([ticket.conversation_id for ticket in tickets])
    return [_build_row(ticket, expiries.get(ticket.conversation_id), now=now) for ticket in tickets]


def _window_expiries(conversation_ids: list[int]) -> dict[int, Any]:
    """Return the latest window expiry by conversation ID, in one query."""
    latest = ServiceWindow.objects.filter(conversation__in=conversation_ids).order_by()
    return dict(latest.values_list("conversation").annotate(Max("expires_at")))


def _build_row(ticket: Ticket, expires_at: datetime | None, *, now: datetime) -> RequestRow:
    conversation: Conversation = ticket.conversation
    is_unrestricted = not conversation.api_channel.provider.service_window
    return RequestRow(
        ticket=ticket,
        name=presentation.contact_name(conversation.contact),
        assignee=presentation.assignee_name(ticket.assignee, conversation),
        team=ticket.team.name if ticket.team else "",
        opened=presentation.format_moment(ticket.opened_at, now=now),
        first_answer=presentation.format_moment(ticket.first_answer_at, now=now) if ticket.first_answer_at else "",
        window=presentation.window_from_expiry(expires_at, is_unrestricted=is_unrestricted, now=now),
    )


def _parse_cursor(text: str) -> tuple[datetime, int] | None:
    """Parse ``<time>~<id>`` of the previous page's last row. Return None for an invalid cursor."""
    moment_text, _tilde, number = text.rpartition("~")
    pk = parse_int(number)
    at = parse_iso_time(moment_text)
    return (at, pk) if at is not None and pk is not None else None
