"""Requests page: a filterable table whose rows open the chat at the request. See also ``bulk_actions``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk import access, presentation, request_table, saved_views, teams
from bridge.desk.bulk.changes import TEAM_PREFIX
from bridge.models import Conversation, SavedView, ServiceWindow, Ticket
from channels_setup.permissions import require_chat_access

from . import bulk_actions, list_filters

PAGE = 50


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
    params = request_table.RequestTableParams.from_values(request.GET)
    channels = access.visible_channels(request)
    channel_ids = [channel.pk for channel in channels]
    found = request_table.find_tickets(params, channels=channel_ids, user=request.user, now=now)
    tickets = list(found[: PAGE + 1])
    next_page = ""
    if len(tickets) > PAGE:
        last = tickets[PAGE - 1]
        value = getattr(last, "closes_at", last.opened_at)
        next_page = "?" + replace(params, cursor=(value, last.pk)).address
    people = bulk_actions.list_channel_assignees(request.user, channel_ids)
    known_teams = teams.list_teams(channel_ids)
    fields = list_filters.build_shared_fields(params, channels, people=people, known_teams=known_teams)
    context = {
        "params": params,
        "rows": _build_rows(tickets[:PAGE], now=now),
        "next_page": next_page,
        "filter_fields": fields,
        "periods": list_filters.period_options(),
        "filter_chips": list_filters.build_chips(
            params,
            fields,
            names=request_table.FILTERS,
            channels=channels,
            is_used_tag=lambda tag: bool(tickets) or list_filters.is_used_tag(tag),
        ),
        "views_menu": saved_views.build_menu(request.user, SavedView.Page.REQUESTS, params),
        "columns": _sortable_columns(params),
        "people": people,
        "teams": known_teams,
        "team_prefix": TEAM_PREFIX,
        "status_actions": bulk_actions.STATUS_ACTIONS,
        "bulk_result": bulk_actions.read_bulk_result(request),
        "section": "requests",
    }
    return render(request, "bridge/requests.html", context)


def _sortable_columns(params: request_table.RequestTableParams) -> dict[str, dict[str, str]]:
    """Return the link and ``aria-sort`` value of the two sortable columns."""
    newest, oldest, window = request_table.SORTS
    order = {newest: "descending", oldest: "ascending"}.get(params.sort, "none")
    return {
        "opened": {"address": params.sorted_by(oldest if params.sort == newest else newest), "order": order},
        "window": {"address": params.sorted_by(window), "order": "ascending" if params.sort == window else "none"},
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
