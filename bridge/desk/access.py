"""Who may see what on the pages for people: every conversation is looked up among those its reader may see."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

from bridge.conversations import merge_lookup
from bridge.models import Conversation, Message
from channels_setup.models import ChatChannel


def visible_conversations(request: HttpRequest) -> QuerySet[Conversation]:
    return Conversation.objects.all().visible_to(request.user)


def visible_channels(request: HttpRequest) -> list[ChatChannel]:
    """The chat channels whose chats this reader sees."""
    return list(ChatChannel.objects.all().visible_to(request.user))


def visible_channel_ids(request: HttpRequest) -> list[int]:
    return [channel.pk for channel in visible_channels(request)]


def get_conversation_or_404(request: HttpRequest, pk: int) -> Conversation:
    """The conversation with all that a page shows of it; somebody else's is as unknown as a missing one.

    A conversation that was merged gives the one that it was merged into.
    """
    rows = visible_conversations(request).select_related(
        "contact", "api_channel", "chat_channel", "assignee", "helpdesk_chat"
    )
    conversation = rows.filter(pk=pk).first() or rows.filter(pk=merge_lookup.find_current_conversation(pk) or 0).first()
    if conversation is None:
        raise Http404
    return conversation


def get_message_or_404(conversation: Conversation, message_id: int) -> Message:
    """What either side said in this conversation; our notices are no messages."""
    message = (
        Message.objects.filter(pk=message_id, conversation=conversation)
        .exclude(direction=Message.Direction.NOTICE)
        .select_related("author", "api_channel")
        .first()
    )
    if message is None:
        raise Http404
    return message


def assignable_users(conversation: Conversation, user: Any) -> QuerySet[Any]:
    """Those to whom a chat may be given: the operators of its channel, and whoever is looking."""
    people = get_user_model()._default_manager.filter(is_active=True)
    return people.filter(Q(chat_channels=conversation.chat_channel_id) | Q(pk=user.pk)).distinct().order_by("pk")
