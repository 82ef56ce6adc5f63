"""Echoes: replies written in the account's own phone app, stored as outbound messages.

An echo has already been delivered, so the portal sends nothing, and it opens no window. It counts as a reply: it marks
the chat as read and the window as answered, unless the client has written since.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from bridge import service_window
from bridge.conversations import (
    contact_links,
    contacts,
    conversation_creation,
    last_messages,
    message_lookup,
    message_statuses,
    tickets,
)
from bridge.fanout import correction_notes, subscribers
from bridge.files import attachment_files
from bridge.models import Conversation, Message
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import EchoSeen

ORIGINAL_MISSING = "missing"  # ``shown["original"]`` of a message stored from its edit, before the original arrives


@transaction.atomic
def store_echo(api_channel: ApiChannel, fact: EchoSeen, *, chat_channel: ChatChannel) -> Message:
    """Store one echo and return its message, which may already exist (sent by the portal, or a repeat)."""
    resolved = contacts.resolve_contacts(
        api_channel, [contacts.ContactData(info=fact.contact, at=fact.at, by_contact=False)]
    )
    contact = resolved.contacts[0]
    conversations, _new_ids = conversation_creation.get_or_create_conversations(api_channel, [(contact, chat_channel)])
    conversation = conversations[contact.pk, chat_channel.pk]
    contact_links.announce_changes(resolved.changes)
    existing = message_lookup.find_by_external_id(api_channel, [fact.external_id]).get(fact.external_id)
    if existing is not None:
        if existing.shown.get("original") == ORIGINAL_MISSING:
            _record_as_reply(conversation, existing, at=fact.at)
        return existing
    now = service_window.database_now()
    message = Message.objects.create(
        conversation=conversation,
        merged_contact=contact if contact.pk != conversation.contact_id else None,
        api_channel=api_channel,
        ticket=tickets.get_current_ticket(conversation),
        direction=Message.Direction.OUTBOUND,
        kind=Message.Kind.TEXT if fact.text else Message.Kind.FILE,
        text=fact.text,
        external_id=fact.external_id,
        provider_time=fact.at,
        status=Message.Status.SENT,
        status_at=fact.at or now,
        shown={**fact.shown, "from_phone": True},
    )
    attachments = attachment_files.create_attachments([(message, fact.files)])
    if fact.quoted_id:
        message_lookup.link_quotes(api_channel, [(message, fact.quoted_id)])
    if fact.shown.get("original") != ORIGINAL_MISSING:
        _record_as_reply(conversation, message, at=fact.at)
    message_statuses.apply_stray_statuses(api_channel, [message])
    correction_notes.note_echo(message, [subscribers.build_file_link(attachment) for attachment in attachments])
    return message


def _record_as_reply(conversation: Conversation, message: Message, *, at: datetime | None) -> None:
    """Mark the chat as answered, unless the client wrote after this echo."""
    inbound = Message.objects.filter(conversation=conversation, direction=Message.Direction.INBOUND)
    if at is not None and inbound.filter(provider_time__gt=at).exists():
        return
    now = service_window.database_now()
    last_messages.set_last_message(conversation, message, now=now)
    conversation.unread, conversation.change_after_answer, conversation.unread_marked_at = 0, "", None
    conversation.save(update_fields=[*last_messages.LAST_MESSAGE_FIELDS, *last_messages.UNREAD_FIELDS])
    service_window.record_reply(conversation.pk, at=min(at or now, now))
