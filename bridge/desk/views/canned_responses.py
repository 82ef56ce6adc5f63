"""Quick answers where one writes: `/` opens them, words narrow them, Enter puts one into the box."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk import access, canned_responses
from bridge.desk.parameters import as_number
from bridge.desk.thread import messages

from . import chat_actions, chats

LONGEST_QUERY = 80


@login_required
@require_GET
@never_cache
def answers(request: HttpRequest, pk: int) -> HttpResponse:
    """The list with its texts as they would be said here. ``take``: without a script, one goes into the box."""
    conversation = access.conversation_or_404(request, pk)
    query = request.GET.get("find", "").replace("\0", "").strip()[:LONGEST_QUERY]
    values = canned_responses.values(conversation, user=request.user)
    rows = list(canned_responses.found(conversation, query)[: canned_responses.MOST])
    texts = {row.pk: canned_responses.filled(row.text, values) for row in rows}
    found = [
        {
            "response": row,
            "text": texts[row.pk],
            "left_out": ", ".join(f"{{{name}}}" for name in canned_responses.left_out(row.text, values)),
        }
        for row in rows
    ]
    context = {"canned_responses": found, "query": query, "conversation": conversation}
    if chat_actions.by_script(request):
        return render(request, "bridge/canned_responses.html", context)
    now = service_window.database_now()
    taken = as_number(request.GET.get("take"))
    text = texts.get(taken) if taken is not None else None
    if text is not None and (draft := messages.draft_of(conversation, request.user)):
        text = f"{draft.text} {text}"
    page = chats.chat_context(request, conversation, now=now, text=text)
    page |= chats.list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", page | (context if text is None else {}))
