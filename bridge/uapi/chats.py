"""Chats of the public API: ``chat/addMessage``, ``chat/sendMessage``, ``chat/changeAssignee``, ``channels``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from bridge.conversations import erased_ids, merge_lookup, receiving, tickets
from bridge.models import Contact, Conversation
from bridge.raw_requests import MAX_BYTES_WITH_FILES
from bridge.relay import held_replies, reply_submission
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived

from .base import UapiView
from .base_call import UapiCall
from .errors import ERASED, NOT_ALLOWED, NOT_FOUND, NOT_SENT, UapiError
from .identity import MAX_ID_LENGTH, find_client, list_unused, read_sender
from .parameters import define_parameters, is_given, read_text
from .reading import ReadOnlyView


class AddMessage(UapiView):
    """``chat/addMessage``: add a client's message; open a chat if the client has none."""

    limit = MAX_BYTES_WITH_FILES
    parameters = define_parameters("company_id", "channel_id", "chat_id", "message", files=True)

    def answer(self, call: UapiCall) -> dict[str, Any]:
        message = call.values.get("message")
        if isinstance(message, str):
            message = {"text": message}
        if not isinstance(message, dict):
            raise BadBody(_("“message” is missing."))
        chat_channel = self._chat_channel(call)
        conversation = get_conversation(call, chat_channel) if call.values.get("chat_id") not in (None, "") else None
        fact = _build_message_fact(call.api_channel, message, has_files=bool(call.files))
        if not erased_ids.drop_erased(call.api_channel, [fact]):
            raise UapiError(ERASED, _("This message was erased at the person's request and cannot be added again."))
        incoming = receiving.IncomingMessage(
            fact=fact,
            chat_channel=conversation.chat_channel if conversation else chat_channel,
            contact=conversation.contact if conversation else _find_known_client(call, message, fact),
            uploads=call.files,
        )
        received = receiving.receive_messages(call.api_channel, [incoming])[0]
        call.contact_ids.update(received.contact_ids)
        if received.is_new:
            held_replies.release_held_replies([received.conversation.pk])
        call.api_channel.record_inbound()
        _mark_number_issued(received.conversation.contact, fact.contact)
        unused = list_unused(_get_sender(message))
        return ({"ignored": unused} if unused else {}) | {
            "chat_id": received.conversation.pk,
            "company_id": chat_channel.company_id,
            "ticket_id": None if received.opened_chat else received.message.ticket_id,
            "channel_id": received.conversation.chat_channel_id,
            "client_id": received.conversation.contact_id,
            "message_id": received.message.pk,
        }

    def _chat_channel(self, call: UapiCall) -> ChatChannel:
        channel_id = values.parse_id(call.values.get("channel_id"), "channel_id")
        if channel_id is None:
            raise BadBody(_("“channel_id” is missing."))
        watching = call.api_channel.watched.through.objects.filter(
            chatchannel=OuterRef("pk"), apichannel=call.api_channel.pk
        )
        channel = ChatChannel.objects.filter(pk=channel_id).annotate(is_watched=Exists(watching)).first()
        if channel is None:
            raise UapiError(NOT_FOUND, _("channel_id %(id)s is not a chat channel.") % {"id": channel_id}, status=False)
        if not channel.is_watched:
            raise UapiError(NOT_ALLOWED, _("This API channel does not watch chat channel %(id)s.") % {"id": channel_id})
        company_id = values.parse_id(call.values.get("company_id"), "company_id")
        if company_id is not None and company_id != channel.company_id:
            raise UapiError(NOT_ALLOWED, _("company_id %(id)s does not match this channel.") % {"id": company_id})
        return channel


def get_conversation(call: UapiCall, chat_channel: ChatChannel | None = None) -> Conversation:
    """Return the chat of ``chat_id``, or the chat that it was merged into.

    With ``chat_channel``: only this API channel's chats in it. Without: all chats in watched chat channels.
    Raises BadBody and UapiError (NOT_FOUND).
    """
    chat_id = values.parse_id(call.values.get("chat_id"), "chat_id")
    if chat_id is None:
        raise BadBody(_("“chat_id” is missing."))
    chat_id = merge_lookup.find_current_conversation(chat_id) or chat_id
    chats = Conversation.objects.filter(pk=chat_id).select_related("contact", "chat_channel", "api_channel")
    if chat_channel is not None:
        chats = chats.filter(chat_channel=chat_channel, api_channel=call.api_channel)
    else:
        chats = chats.filter(chat_channel__in=call.api_channel.watched.all())
    chat = chats.first()
    if chat is None:
        raise UapiError(
            NOT_FOUND, _("Chat %(id)s does not exist in the channels of this API channel.") % {"id": chat_id}
        )
    call.link_contact(chat.contact)
    return chat


def _find_known_client(call: UapiCall, message: dict[str, Any], fact: MessageReceived) -> Contact | None:
    return find_client(call.api_channel, _get_sender(message), fact.contact)


def _mark_number_issued(contact: Contact, info: ContactInfo) -> None:
    """Record that the caller knows the client only by the ID in our response."""
    if not (info.caller_id or contact.caller_id or contact.external_id or contact.number_issued):
        Contact.objects.filter(pk=contact.pk).update(number_issued=True)


def _get_sender(message: dict[str, Any]) -> dict[str, Any]:
    """Return ``message.from``, or {} if it is empty. Raises BadBody."""
    sender = message.get("from") if is_given(message.get("from")) else {}
    if not isinstance(sender, dict):
        raise BadBody(_("“message.from” must be an object."))
    return sender


def _build_message_fact(api_channel: ApiChannel, message: dict[str, Any], *, has_files: bool) -> MessageReceived:
    sender = _get_sender(message)
    text = None if message.get("text") is False else message.get("text")  # PHP clients send false for an empty text
    if text is not None and (isinstance(text, bool) or not isinstance(text, str | int | float)):
        raise BadBody(_("“message.text” must be text."))
    attached = values.parse_files(message.get("files"), "message.files")
    if not values.as_text(text).strip() and not attached and not has_files:
        raise BadBody(_("“message.text” is missing."))
    return MessageReceived(
        contact=read_sender(api_channel, sender),
        text=values.as_text(text),
        external_id=read_text(message.get("id"), "message.id", longest=MAX_ID_LENGTH),
        at=values.parse_unix_time(message.get("timestamp"), "message.timestamp"),
        files=attached,
    )


class SendMessage(UapiView):
    """``chat/sendMessage``: send an operator's message under the same window rules as in the desk."""

    parameters = define_parameters("chat_id", "user_id", "text")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        conversation = get_conversation(call)
        user = get_operator(call, conversation)
        text = call.values.get("text")
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise BadBody(_("“text” is missing."))
        submitted = reply_submission.submit_reply(conversation_id=conversation.pk, text=str(text), author=user)
        if submitted.message is None or submitted.ticket is None:
            raise UapiError(NOT_SENT, submitted.decision.sentence, reason=submitted.decision.reason)
        return {
            "status": "success",
            "chat_id": conversation.pk,
            "ticket_id": submitted.ticket.pk,
            "message_id": submitted.message.pk,
        }


def get_operator(call: UapiCall, conversation: Conversation) -> Any:
    """Return the active operator of ``user_id`` who may see the chat. Raises BadBody and UapiError."""
    user_id = values.parse_id(call.values.get("user_id"), "user_id")
    if user_id is None:
        raise BadBody(_("“user_id” is missing."))
    user = get_user_model().objects.people().filter(pk=user_id, is_active=True).first()
    if user is None or not Conversation.objects.filter(pk=conversation.pk).visible_to(user).exists():
        raise UapiError(
            NOT_FOUND, _("Operator %(id)s does not exist or does not have access to this chat.") % {"id": user_id}
        )
    return user


class ChangeAssignee(UapiView):
    """``chat/changeAssignee``: assign a chat to an operator."""

    parameters = define_parameters("chat_id", "user_id")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        conversation = get_conversation(call)
        user = get_operator(call, conversation)
        tickets.assign_chat(conversation.pk, user_id=user.pk, by=user.pk)
        # Usedesk returns these IDs as strings.
        return {
            "chat_id": str(conversation.pk),
            "user_id": str(user.pk),
            "url": f"{settings.PUBLIC_URL.rstrip('/')}/chats/{conversation.pk}/",
        }


class Channels(ReadOnlyView):
    """``channels``: list the watched chat channels and the API channel itself."""

    parameters = define_parameters("channel_type")

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        channel_type = values.as_text(call.values.get("channel_type"))
        found = [
            {"channel_id": channel.pk, "channel_name": channel.name, "channel_type": "chat"}
            for channel in call.api_channel.watched.all()
        ]
        found.append(
            {
                "channel_id": call.api_channel.app_id,
                "channel_name": call.api_channel.name,
                "channel_type": "api",
            }
        )
        return [channel for channel in found if not channel_type or channel["channel_type"] == channel_type]
