"""Command palette: chats by search or by ID, and the next chat that needs a reply. JSON for static/palette.js."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk import access, saved_views
from bridge.desk.chat_list import listing, next_waiting
from bridge.desk.chat_list.rows import ChatRow
from bridge.desk.parameters import parse_int
from bridge.models import SavedView
from channels_setup.permissions import require_chat_access

MAX_CHATS = 8


@require_chat_access
@require_GET
@never_cache
def search_palette(request: HttpRequest) -> HttpResponse:
    """Return the chats found by ``q``, or the chats whose IDs ``recent`` lists, and the saved views."""
    now = service_window.database_now()
    channels = access.visible_channel_ids(request)
    params = listing.ChatListParams.from_request(request)
    if params.query:
        page = listing.build_list_page(params, channels=channels, user=request.user, now=now, limit=MAX_CHATS)
        return JsonResponse({"chats": [_row_json(row) for row in page.rows]})
    recent = [pk for text in request.GET.get("recent", "").split(",")[:MAX_CHATS] if (pk := parse_int(text))]
    visible = set(access.visible_conversations(request).filter(pk__in=recent).values_list("pk", flat=True))
    rows = listing.build_rows([pk for pk in recent if pk in visible], user=request.user, now=now)
    views = [_view_json(view) for view in saved_views.list_views(request.user)]
    return JsonResponse({"chats": [_row_json(row) for row in rows], "views": views})


def _view_json(view: SavedView) -> dict[str, Any]:
    address = reverse("saved-view", args=[view.pk])
    return {"view": view.pk, "page": view.page, "title": view.name, "url": address}


@require_chat_access
@require_GET
@never_cache
def find_next_waiting(request: HttpRequest) -> HttpResponse:
    """Return the chat that needs a reply and follows ``current`` in the list's order, or the first one.

    Chats of colleagues are skipped, unless nothing else waits. ``note`` says so.
    """
    now = service_window.database_now()
    channels = access.visible_channel_ids(request)
    found = next_waiting.find_next(channels, user=request.user, now=now, current=parse_int(request.GET.get("current")))
    rows = listing.build_rows([found.chat], user=request.user, now=now) if found.chat else []
    return JsonResponse({"chat": _row_json(rows[0]) if rows else None, "note": found.note})


def _row_json(row: ChatRow) -> dict[str, Any]:
    """Return the row without the parameters of the search, because the open list keeps its own."""
    address = reverse("chat", args=[row.shown.chat]) + (f"?at={row.hit.pk}" if row.hit else "")
    return {"chat": row.shown.chat, "title": row.name, "detail": row.preview, "url": address}
