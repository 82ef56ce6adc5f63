"""List of canned responses in the composer."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import canned_variables, service_window
from bridge.desk import access, canned_responses, first_rows, macro_menu
from bridge.desk.parameters import parse_int
from bridge.desk.thread import messages
from channels_setup.permissions import require_chat_access

from . import chat_actions, chats

MAX_QUERY_LENGTH = 80


@require_chat_access
@require_GET
@never_cache
def show_canned_responses(request: HttpRequest, pk: int) -> HttpResponse:
    """List the responses with variables filled in. ``take``: insert one into the composer without scripts."""
    conversation = access.get_conversation_or_404(request, pk)
    query = request.GET.get("find", "").replace("\0", "").strip()[:MAX_QUERY_LENGTH]
    values = canned_variables.variable_values(conversation, user=request.user)
    found = canned_responses.search_responses(conversation, query, user=request.user)
    rows, total = first_rows.read_first_rows(found, limit=canned_responses.MAX_LISTED)
    texts = {row.pk: canned_variables.fill_variables(row.text, values) for row in rows}
    options = [
        {
            "response": row,
            "text": texts[row.pk],
            "missing_variables": ", ".join(
                f"{{{name}}}" for name in canned_variables.missing_variables(row.text, values)
            ),
        }
        for row in rows
    ]
    context = {
        "macro_choices": macro_menu.list_choices(conversation, user=request.user, query=query),
        "canned_responses": options,
        "canned_responses_total": total,
        "canned_responses_limit": canned_responses.MAX_LISTED,
        "query": query,
        "conversation": conversation,
    }
    if chat_actions.is_script_request(request):
        return render(request, "bridge/canned_responses.html", context)
    now = service_window.database_now()
    response_id = parse_int(request.GET.get("take"))
    text = texts.get(response_id) if response_id is not None else None
    if text is not None and (draft := messages.find_draft(conversation, request.user)):
        text = f"{draft.text} {text}"
    page = chats.build_chat_context(request, conversation, now=now, text=text)
    page |= chats.build_list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", page | (context if text is None else {}))
