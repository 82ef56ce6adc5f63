"""What we wrote in the account's own app (a phone): shown in the chat as ours.

It opens no window and is handed to nobody: it has been sent. A reply it is all the same, so the window is no longer
a missed one and nothing stands unread.
"""

from __future__ import annotations

from django.db import transaction

from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import EchoSeen

from . import contacts, conversations, files, statuses, tickets, windows
from .models import Message


@transaction.atomic
def take(api_channel: ApiChannel, fact: EchoSeen, *, chat_channel: ChatChannel) -> Message | None:
    """Store one echo; None where the message is known (sent from here, or seen before)."""
    [contact] = contacts.of(api_channel, [(fact.contact, None)])
    found, _opened = conversations.conversations_at(api_channel, [(contact, chat_channel)])
    conversation = found[contact.pk, chat_channel.pk]
    if conversations.messages_by_external_id(api_channel, [fact.external_id]):
        return None
    now = windows.database_now()
    message = Message.objects.create(
        conversation=conversation,
        merged_contact=contact if contact.pk != conversation.contact_id else None,
        api_channel=api_channel,
        ticket=tickets.live_ticket(conversation),
        direction=Message.Direction.OUTBOUND,
        kind=Message.Kind.TEXT if fact.text else Message.Kind.FILE,
        text=fact.text,
        external_id=fact.external_id,
        provider_time=fact.at,
        status=Message.Status.SENT,
        status_at=fact.at or now,
        shown={**fact.shown, "from_phone": True},
    )
    files.attach([(message, fact.files)])
    if fact.quoted_id:
        conversations.link_quotes(api_channel, [(message, fact.quoted_id)])
    conversations.note_last_words(conversation, message, now=now)
    conversation.unread, conversation.change_after_answer = 0, ""
    conversation.save(update_fields=[*conversations.LAST_WORDS, *conversations.NEWS])
    windows.note_reply(conversation.pk, at=min(fact.at or now, now))
    statuses.join_strays(api_channel, [message])
    return message
