"""Actions on chats of the list: assign, close, tag, snooze, read and unread, pins, macros, and their undo."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from bridge import service_window
from bridge.automation import macros
from bridge.desk import access, forms, snooze_menu, tags, teams
from bridge.desk.bulk import changes, chat_macros, chats
from bridge.desk.bulk.results import Action, BulkResult, describe_result
from bridge.desk.bulk.row_states import ShownState, read_state
from bridge.desk.chat_list import listing
from bridge.desk.parameters import parse_int
from channels_setup.permissions import require_chat_access

from . import bulk_actions, chat_actions

MAX_SUGGESTED = 30  # tags


@require_chat_access
@require_POST
def change_chats(request: HttpRequest) -> HttpResponse:
    """Run an action on the posted chats. Scripts get what it did, the changed rows and an undo token."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    shown = _read_chats(request)
    try:
        action = Action(request.POST.get("action", ""))
    except ValueError:
        action = None
    if action is None or not shown or forms.FOR_USER not in request.POST:
        return HttpResponseBadRequest()
    values = request.POST.dict() | {"macro_key": forms.posted_key(request, "macro_key")}
    earlier = _load_earlier(request, action, is_undo=False)
    done = earlier.count if earlier else 0
    try:
        result = chats.run_action(action, shown, user=request.user, values=values, done=done).after(earlier)
    except chats.BulkRefused as problem:
        return _refuse(request, str(problem))
    return _respond(request, result, shown=list(shown))


@require_chat_access
@require_POST
def undo_change(request: HttpRequest) -> HttpResponse:
    """Undo an action in the chats that have not changed since. Scripts undo a slow one in parts (``start``)."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    found = changes.load_changes(request.user, request.POST.get("undo_token", ""), salt=changes.CHATS_SALT)
    if found is None:
        return _refuse(request, _("This can no longer be undone."))
    action, changed, following = Action(found["field"]), found["changed"], None
    start = parse_int(request.POST.get("start"))
    if start is not None and action not in chats.FOR_ALL:
        following = start + changes.PART if start + changes.PART < len(changed) else None
        changed = changed[start : start + changes.PART]
    earlier = _load_earlier(request, action, is_undo=True)
    try:
        result = chats.undo_action(action, changed, user=request.user).after(earlier)
    except chats.BulkRefused as problem:
        return _refuse(request, str(problem))
    shown = [pk for pk, _before, _after in changed]
    return _respond(request, result, shown=shown, next=following, total=len(found["changed"]))


def _load_earlier(request: HttpRequest, action: Action, *, is_undo: bool) -> BulkResult | None:
    """Return the result of the earlier parts of this action, which the script posts back."""
    found = changes.load_changes(request.user, request.POST.get("earlier", ""), salt=changes.PARTS_SALT)
    if found is None or (found["field"], found["is_undo"]) != (action, is_undo):
        return None
    return BulkResult(action=action, changed=found["changed"], skipped=Counter(found["skipped"]), is_undo=is_undo)


def _sign_earlier(request: HttpRequest, result: BulkResult) -> str:
    more = {"skipped": dict(result.skipped), "is_undo": result.is_undo}
    return changes.sign_changes(
        request.user, field=result.action, changed=result.changed, salt=changes.PARTS_SALT, **more
    )


@require_chat_access
@require_GET
@never_cache
def show_choices(request: HttpRequest) -> HttpResponse:
    """Return the menus of the bar as HTML: people and teams, snooze times, tags, macros."""
    channels = access.visible_channel_ids(request)
    now = service_window.database_now()
    context = {
        "people": bulk_actions.list_channel_assignees(request.user, channels),
        "teams": teams.list_teams(channels),
        "team_prefix": changes.TEAM_PREFIX,
        "snooze_choices": snooze_menu.list_choices(),
        "snooze_field": snooze_menu.time_field(now),
        "tags": tags.suggest_request_tags(channels, limit=MAX_SUGGESTED),
        "macros": [
            {"macro": macro, "actions": macros.describe_actions(macro, None)}
            for macro in chat_macros.list_bulk_macros(request.user)
        ],
    }
    return render(request, "bridge/chat_bulk_choices.html", context)


def _read_chats(request: HttpRequest) -> dict[int, ShownState]:
    """Return the posted chats with the state that the user saw. A form of one chat names it as ``for_chat``."""
    posted = request.POST.getlist("chat") or [request.POST.get(forms.FOR_CHAT, "")]
    found: dict[int, ShownState] = {}
    for text in posted:
        number, _colon, state = text.partition(":")
        if pk := parse_int(number):
            found[pk] = read_state(state)
    return found


def _respond(request: HttpRequest, result: BulkResult, *, shown: list[int], **more: Any) -> HttpResponse:
    if not chat_actions.is_script_request(request):
        query = listing.list_query_string(listing.ChatListParams.from_request(request).non_default)
        return redirect(reverse("chats") + query)
    can_undo = bool(result.changed) and not result.is_undo and result.action not in chats.IRREVERSIBLE
    answer: dict[str, Any] = {
        "sentence": describe_result(result),
        "changed": len(result.changed),
        "earlier": _sign_earlier(request, result),
        "rows": "".join(row.html for row in _build_rows(request, shown)),
        "undo_token": changes.sign_changes(
            request.user, field=result.action, changed=result.changed, salt=changes.CHATS_SALT
        )
        if can_undo
        else "",
        **more,
    }
    return JsonResponse(answer)


def _build_rows(request: HttpRequest, shown: list[int]) -> list[Any]:
    """Build the rows of these chats as the list of the page shows them."""
    current = parse_int(request.POST.get(forms.FOR_CHAT))
    visible = set(access.visible_conversations(request).filter(pk__in=shown).values_list("pk", flat=True))
    params = listing.ChatListParams.from_request(request, current=current)
    now = service_window.database_now()
    return listing.build_rows([pk for pk in shown if pk in visible], user=request.user, now=now, params=params)


def _refuse(request: HttpRequest, sentence: str) -> HttpResponse:
    if chat_actions.is_script_request(request):
        return JsonResponse({"sentence": sentence}, status=422)
    return render(request, "bridge/conflict.html", {"sentence": sentence, "words": ""}, status=422)
