"""Access rules of the desk: look up conversations, messages and channels among those the user may see."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

from bridge.conversations import chat_looks, merge_lookup
from bridge.models import Contact, Conversation, Message
from bridge.person_erased import PersonErased
from channels_setup.models import ChatChannel, Team
from channels_setup.permissions import VIEW_ALL_CHATS, VIEW_CHATS, users_with
from channels_setup.prepared_queries import PreparedQuery

SHOWN_RELATIONS = ("contact", "api_channel", "chat_channel", "assignee", "team", "helpdesk_chat")
ANY_CONVERSATION: PreparedQuery[Conversation] = PreparedQuery(
    lambda pk: Conversation.objects.filter(pk=pk).select_related(*SHOWN_RELATIONS)
)
OWN_CONVERSATION: PreparedQuery[Conversation] = PreparedQuery(
    lambda pk, user: Conversation.objects.filter(
        pk=pk, chat_channel__in=ChatChannel.objects.filter(operators=user)
    ).select_related(*SHOWN_RELATIONS)
)
ANY_CHANNELS: PreparedQuery[ChatChannel] = PreparedQuery(ChatChannel.objects.all)
OWN_CHANNELS: PreparedQuery[ChatChannel] = PreparedQuery(lambda user: ChatChannel.objects.filter(operators=user))


def visible_conversations(request: HttpRequest) -> QuerySet[Conversation]:
    """Return the conversations that the user may see."""
    return Conversation.objects.all().visible_to(request.user)


def visible_channels(request: HttpRequest) -> list[ChatChannel]:
    """List the chat channels whose chats the user may see."""
    user = request.user
    if _is_limited(user) or not user.has_perm(VIEW_CHATS):
        return list(ChatChannel.objects.all().visible_to(user))
    return ANY_CHANNELS() if user.has_perm(VIEW_ALL_CHATS) else OWN_CHANNELS(user.pk or 0)


def visible_channel_ids(request: HttpRequest) -> list[int]:
    return [channel.pk for channel in visible_channels(request)]


def get_conversation_or_404(request: HttpRequest, pk: int, *, allow_erased: bool = False) -> Conversation:
    """Return the conversation with the relations that a page shows. Raise Http404 without access.

    A form of an erased client, such as one of a tab that was open before, raises PersonErased.

    The ID of a merged conversation returns the conversation that it was merged into. Looks at chats of others are
    recorded for the audit.
    """
    user = request.user
    conversation = _find_conversation(user, pk)
    if conversation is None:
        conversation = _find_conversation(user, merge_lookup.find_current_conversation(pk) or 0)
    if conversation is None:
        raise Http404
    if request.method == "POST" and conversation.contact.erased_at and not allow_erased:
        raise PersonErased
    chat_looks.record_chat_look(request.user, conversation)
    return conversation


def _is_limited(user: Any) -> bool:
    """Return whether other rights than those of a person's role count: an API token's, or a service account's."""
    return getattr(user, "limited_to_chat_channels", None) is not None or getattr(user, "is_service", False)


def _find_conversation(user: Any, pk: int) -> Conversation | None:
    """Return a conversation that the user may see, like ``ConversationQuerySet.visible_to``, with prepared queries."""
    if _is_limited(user):
        return Conversation.objects.all().visible_to(user).select_related(*SHOWN_RELATIONS).filter(pk=pk).first()
    if not user.has_perm(VIEW_CHATS):
        return None
    return ANY_CONVERSATION.first(pk) if user.has_perm(VIEW_ALL_CHATS) else OWN_CONVERSATION.first(pk, user.pk)


def may_prefetch(request: HttpRequest, pk: int) -> bool:
    """Return whether reading the chat leaves no audit record, so that a page may fetch it before it is opened."""
    rows = list(visible_conversations(request).filter(pk=pk).values_list("assignee_id", flat=True))
    return bool(rows) and not chat_looks.is_chat_of_others(request.user, rows[0])


def list_visible_people(request: HttpRequest, contact: Contact) -> list[Contact]:
    """Return the contact and the contacts merged into it, without those who had chats only in other channels."""
    channels = visible_channel_ids(request) if contact.has_merged else []
    return merge_lookup.list_people(contact, visible_in=channels)


def get_message_or_404(conversation: Conversation, message_id: int) -> Message:
    """Return a message of either side of the conversation. Notices raise Http404."""
    message = (
        Message.objects.filter(pk=message_id, conversation=conversation)
        .exclude(direction=Message.Direction.NOTICE)
        .select_related("author", "api_channel")
        .first()
    )
    if message is None:
        raise Http404
    return message


def list_operators() -> QuerySet[Any]:
    """Return the active people who may see chats."""
    return get_user_model().objects.people().filter(is_active=True, pk__in=users_with(VIEW_CHATS).values("pk"))


def assignable_users(conversation: Conversation, user: Any) -> QuerySet[Any]:
    """Return the users that the chat can be assigned to: operators of its channel, and the current user."""
    return _assignable_users(conversation.chat_channel_id, user.pk)


def _assignable_users(chat_channel_id: int, user_id: int) -> QuerySet[Any]:
    by_channel = Q(chat_channels=chat_channel_id)
    return list_operators().filter(by_channel | Q(pk=user_id)).distinct().order_by("pk")


ASSIGNABLE_USERS: PreparedQuery[Any] = PreparedQuery(_assignable_users)


def _assignable_users_of_channels(user_id: int, *chat_channel_ids: int) -> QuerySet[Any]:
    serving = ChatChannel.operators.through.objects.filter(chatchannel__in=chat_channel_ids).values("user")
    return list_operators().filter(Q(pk__in=serving) | Q(pk=user_id)).order_by("pk")


ASSIGNABLE_USERS_OF_CHANNELS: PreparedQuery[Any] = PreparedQuery(_assignable_users_of_channels)


def list_assignable_users(conversation: Conversation, user: Any) -> list[Any]:
    """Return the rows of ``assignable_users`` with a prepared query."""
    return ASSIGNABLE_USERS(conversation.chat_channel_id, user.pk)


def mentionable_users(conversation: Conversation) -> QuerySet[Any]:
    """Return the users that a note can mention: those who may see the chat."""
    sees_channel = Q(chat_channels=conversation.chat_channel_id)
    sees_all = Q(pk__in=users_with(VIEW_ALL_CHATS).values("pk"))
    return list_operators().filter(sees_channel | sees_all).distinct().order_by("pk")


def assignable_teams(conversation: Conversation) -> QuerySet[Team]:
    """Return the teams that the chat can be assigned to: those that serve its channel."""
    return Team.objects.filter(chat_channels=conversation.chat_channel_id)
