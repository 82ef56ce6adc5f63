"""Deliveries to an external helpdesk: the client's card, clients' messages, and notes for operators.

A delivery stores its content. The helpdesk's IDs are looked up at every attempt, because responses and events report
them over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils import translation

from bridge import wakeups
from bridge.models import Conversation, Delivery, HelpdeskChat, Message
from channels_setup.codecs import message_extras
from channels_setup.providers.base import helpdesk as contract

from .subscribers import MessageContext


def build_helpdesk_deliveries(items: Sequence[MessageContext]) -> list[Delivery]:
    """Build unsaved deliveries of clients' messages to external helpdesks, in order."""
    inbound = [
        item
        for item in items
        if item.message.direction == Message.Direction.INBOUND and not item.conversation.chat_channel.provider.built_in
    ]
    if not inbound:
        return []
    links = _get_or_create_chats({item.conversation.pk: item.conversation for item in inbound})
    deliveries: list[Delivery] = []
    changed: set[int] = set()
    for item in inbound:
        pk = item.conversation.pk
        if (card := _build_client_card(item.conversation)) != links[pk].card:
            links[pk].card = card
            changed.add(pk)
            deliveries.append(_build_delivery(item.conversation, Delivery.Kind.HELPDESK, contract.CLIENT))
        deliveries.append(_build_message_delivery(item))
    HelpdeskChat.objects.bulk_update([links[pk] for pk in sorted(changed)], ["card"])
    return deliveries


def queue_changed_card(conversation: Conversation) -> None:
    """Queue a changed client card when there is no message. The caller holds the conversation's lock."""
    link = HelpdeskChat.objects.filter(conversation=conversation).first()
    if link is None or link.card == _build_client_card(conversation):
        return
    link.card = _build_client_card(conversation)
    link.save(update_fields=["card"])
    _build_delivery(conversation, Delivery.Kind.HELPDESK, contract.CLIENT).save(force_insert=True)
    wakeups.notify_after_commit(wakeups.EVENTS)


def _get_or_create_chats(conversations: dict[int, Conversation]) -> dict[int, HelpdeskChat]:
    """Return the helpdesk chats of these conversations, creating missing ones. The caller holds their locks."""
    links = {link.pk: link for link in HelpdeskChat.objects.filter(conversation__in=conversations)}
    for pk in sorted(conversations.keys() - links.keys()):
        link = HelpdeskChat(conversation_id=pk, chat_channel_id=conversations[pk].chat_channel_id)
        link.save(force_insert=True)
        links[pk] = link
    return links


def _build_client_card(conversation: Conversation) -> dict[str, str]:
    contact = conversation.contact
    return {
        "external_id": contact.external_id,
        "phone": contact.phone,
        "name": contact.shown_name,
        "email": contact.email,
    }


def _build_message_delivery(item: MessageContext) -> Delivery:
    message = item.message
    return _build_delivery(
        item.conversation,
        Delivery.Kind.HELPDESK,
        contract.MESSAGE,
        message=message,
        text=_localize_text(item),
        at=(message.provider_time or message.created_at).isoformat(),
        external_id=message.external_id,
        files=list(item.files),
    )


def _localize_text(item: MessageContext) -> str:
    """Return the text in the operators' language, with the advertisement that led to the message."""
    message, options = item.message, item.conversation.chat_channel.options
    with translation.override(options.get("language") or settings.LANGUAGE_CODE):
        has_ad = message.shown.get("what") == "welcome"  # its text already describes the advertisement
        return "\n".join(
            filter(None, (message.localized_text, "" if has_ad else message_extras.describe_ad(message.shown)))
        )


def queue_note(conversation: Conversation, text: str, *, message: Message | None = None) -> Delivery:
    """Queue a note that only operators see. Notes have their own queue and delay no client message."""
    delivery = _build_delivery(conversation, Delivery.Kind.NOTE, contract.NOTE, message=message, text=text)
    delivery.save(force_insert=True)
    wakeups.notify_after_commit(wakeups.EVENTS)
    return delivery


def _build_delivery(
    conversation: Conversation, kind: Delivery.Kind, track: str, *, message: Message | None = None, **payload: Any
) -> Delivery:
    return Delivery(
        kind=kind,
        conversation=conversation,
        message=message,
        api_channel_id=conversation.api_channel_id,
        chat_channel_id=conversation.chat_channel_id,
        track=track,
        payload={
            "contact": _build_client_card(conversation),
            **payload,
        },
    )
