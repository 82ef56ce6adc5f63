"""The page Requests: every case in a table, the newest first; a row opens its chat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import windows
from bridge.models import Conversation, ServiceWindow, Ticket
from channels_setup.models import ChatChannel

from . import access, presentation
from .chats import as_number

PAGE = 50
LIVE = "live"  # a filter of its own: all that is not over


@dataclass(frozen=True, kw_only=True)
class Row:
    ticket: Ticket
    name: str
    assignee: str
    opened: str
    first_answer: str
    window: presentation.WindowView


@login_required
@require_GET
@never_cache
def requests(request: HttpRequest) -> HttpResponse:
    now = windows.database_now()
    channels = list(ChatChannel.objects.all().seen_by(request.user))
    status, channel = request.GET.get("status", ""), as_number(request.GET.get("channel"))
    found = _filtered(request, status=status, channel=channel)
    tickets = list(_after(found, request.GET.get("after", ""))[: PAGE + 1])
    rows = _rows(tickets[:PAGE], now=now)
    kept = {"status": status, "channel": str(channel or "")}
    next_page = ""
    if len(tickets) > PAGE:
        last = tickets[PAGE - 1]
        next_page = "?" + urlencode(
            {key: value for key, value in kept.items() if value} | {"after": f"{last.opened_at.isoformat()}~{last.pk}"}
        )
    return render(
        request,
        "bridge/requests.html",
        {
            "rows": rows,
            "next_page": next_page,
            "is_first_page": "after" not in request.GET,
            "channels": channels,
            "channel": channel,
            "status": status,
            "statuses": Ticket.Status.choices,
            "live": LIVE,
            "section": "requests",
        },
    )


def _filtered(request: HttpRequest, *, status: str, channel: int | None) -> QuerySet[Ticket]:
    visible = access.visible(request)
    if channel is not None:
        visible = visible.filter(chat_channel=channel)
    found = Ticket.objects.filter(conversation__in=visible)
    if status == LIVE:
        return found.exclude(status__in=Ticket.ENDED)
    if (number := as_number(status)) is not None:
        return found.filter(status=number if number in Ticket.Status.values else -1)
    return found


def _after(found: QuerySet[Ticket], cursor: str) -> QuerySet[Ticket]:
    """Keyset: the address names the last row of the page before."""
    moment_text, _tilde, number = cursor.rpartition("~")
    pk = as_number(number)
    try:
        moment = datetime.fromisoformat(moment_text)
    except ValueError:
        moment = None
    if moment is not None and moment.tzinfo is not None and pk is not None:
        found = found.filter(opened_at__lte=moment).filter(Q(opened_at__lt=moment) | Q(pk__lt=pk))
    return found.select_related(
        "assignee", "conversation__contact", "conversation__chat_channel", "conversation__api_channel"
    ).order_by("-opened_at", "-pk")


def _rows(tickets: list[Ticket], *, now: datetime) -> list[Row]:
    expiries = _expiries([ticket.conversation_id for ticket in tickets])
    return [_row(ticket, expiries.get(ticket.conversation_id), now=now) for ticket in tickets]


def _expiries(conversation_ids: list[int]) -> dict[int, Any]:
    """When each conversation's latest window shuts or shut: one query for the page."""
    latest = ServiceWindow.objects.filter(conversation__in=conversation_ids).order_by()
    return dict(latest.values_list("conversation").annotate(Max("expires_at")))


def _row(ticket: Ticket, expires_at: datetime | None, *, now: datetime) -> Row:
    conversation: Conversation = ticket.conversation
    return Row(
        ticket=ticket,
        name=presentation.contact_name(conversation.contact),
        assignee=presentation.person_name(ticket.assignee),
        opened=presentation.moment_words(ticket.opened_at, now=now),
        first_answer=presentation.moment_words(ticket.first_answer_at, now=now) if ticket.first_answer_at else "",
        window=presentation.window_of_row(conversation, expires_at, now=now),
    )
