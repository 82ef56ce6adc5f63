"""Snooze a chat, or end its snooze."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import snoozing
from bridge.desk import access, forms

from . import chat_actions

OTHER_TIME, WAKE = "other", "wake"


@forms.require_chat_form
def snooze_chat(request: HttpRequest, pk: int) -> HttpResponse:
    """Snooze the chat until a choice of the menu or the entered time. ``wake`` ends the snooze."""
    conversation = access.get_conversation_or_404(request, pk)
    choice = request.POST.get("snooze", "")
    if choice == WAKE:
        snoozing.end_snooze(conversation.pk, by=request.user)
        return chat_actions.success_response(request, conversation)
    until = None
    if choice == OTHER_TIME:
        until = snoozing.parse_local_time(request.POST.get("until", ""))
        if until is None:
            return chat_actions.refusal_response(request, conversation, _("Enter a date and a time."))
    elif choice in snoozing.CHOICES:
        until = snoozing.compute_choice(choice, now=service_window.database_now())
    else:
        return chat_actions.refusal_response(request, conversation, _("Choose until when to snooze this chat."))
    try:
        snoozing.snooze_chat(conversation.pk, until=until, by=request.user)
    except snoozing.SnoozeRefused as problem:
        return chat_actions.refusal_response(request, conversation, str(problem))
    return chat_actions.success_response(request, conversation)
