"""Notes in a thread: add, edit, delete, and the list of people whom a note can mention."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.conversations import chat_notes
from bridge.desk import access, forms
from bridge.models import Conversation, ConversationNote
from channels_setup.permissions import require_chat_access

from . import chat_actions, chats


@forms.require_chat_form
def add_note(request: HttpRequest, pk: int) -> HttpResponse:
    """Add an internal note to the thread."""
    conversation = access.get_conversation_or_404(request, pk)
    text = request.POST.get("note", "")

    def work() -> ConversationNote:
        people = list(access.mentionable_users(conversation))
        key = forms.posted_key(request, "note_key")
        return chat_notes.add_note(conversation.pk, text, author=request.user, people=people, form_key=key)

    return _save(request, conversation, text, work)


@forms.require_chat_form
def edit_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """Change the user's own note."""
    conversation = access.get_conversation_or_404(request, pk)
    text = request.POST.get("text", "")

    def work() -> ConversationNote:
        people = list(access.mentionable_users(conversation))
        return chat_notes.edit_note(note_id, text, conversation=conversation, author=request.user, people=people)

    return _save(request, conversation, text, work)


@forms.require_chat_form
def delete_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """Delete the words of the user's own note."""
    conversation = access.get_conversation_or_404(request, pk)
    try:
        chat_notes.delete_note(note_id, conversation=conversation, author=request.user)
    except chat_notes.NoteRefused as problem:
        return chat_actions.refusal_response(request, conversation, str(problem))
    return chat_actions.success_response(request, conversation)


@require_chat_access
@require_GET
@never_cache
def list_people(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the people to offer for a mention in a note of this chat, as JSON: all who may see it but the user."""
    conversation = access.get_conversation_or_404(request, pk)
    people = list(access.mentionable_users(conversation))
    handles = chat_notes.build_handles(people)
    rows = [{"id": user.pk, "name": handles[user.pk], "user": user.get_username()} for user in people]
    rows = [row for row in rows if row["id"] != request.user.pk]
    return JsonResponse({"people": sorted(rows, key=lambda row: str(row["name"]).casefold())})


def _save(
    request: HttpRequest, conversation: Conversation, text: str, work: Callable[[], ConversationNote]
) -> HttpResponse:
    try:
        note = work()
    except chat_notes.NoteRefused as problem:
        if chat_actions.is_script_request(request):
            return JsonResponse({"sentence": str(problem), "fields": {"text": str(problem)}}, status=422)
        now = service_window.database_now()
        context = chats.build_chat_context(request, conversation, now=now)
        context |= chats.build_list_context(request, current=conversation.pk, now=now)
        context |= {"writes_note": True, "note_text": text, "note_problem": str(problem)}
        return render(request, "bridge/chats.html", context, status=422)
    if chat_actions.is_script_request(request):
        return JsonResponse({"note": note.pk})
    return chat_actions.redirect_to_chat(request, conversation)
