"""Operators' reactions to clients' messages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from bridge import outcomes
from bridge.desk import access, forms
from bridge.relay import reactions

from . import chat_actions

MAX_POSTED_LENGTH = 40  # characters; longer text is no emoji


@forms.require_chat_form
def react_to_message(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Set our reaction to a message, or remove it if no emoji is posted."""
    conversation = access.get_conversation_or_404(request, pk)
    message = access.get_message_or_404(conversation, message_id)
    emoji = request.POST.get("emoji", "").strip()[:MAX_POSTED_LENGTH]
    if code := reactions.submit_reaction(conversation.pk, message.pk, emoji, author=request.user):
        return chat_actions.refusal_response(request, conversation, outcomes.render_sentence(code), code=code)
    return chat_actions.success_response(request, conversation)
