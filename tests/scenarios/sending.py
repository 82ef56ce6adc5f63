"""A client writes, an operator answers, and deliveries become due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from bridge.conversations import receiving
from bridge.models import Conversation, Delivery, Message, ServiceWindow
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.factories import ApiChannelFactory, boris
from tests.receiver import Receiver


def receive_text(
    api_channel: ApiChannel, text: str = "?", *, who: str = "anna", name: str = "", phone: str = "", **fields: Any
) -> receiving.ReceivedMessage:
    """Receive one message of a client. ``fields``: others of ``MessageReceived``, such as ``at`` or ``files``."""
    chat_channel = api_channel.default_chat_channel
    assert chat_channel
    contact = ContactInfo(external_id=who, name=name, phone=phone)
    fact = MessageReceived(contact=contact, text=text, **fields)
    [received] = receiving.receive_messages(
        api_channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)]
    )
    return received


def anna_writes(api_channel: ApiChannel, *, who: str = "anna", text: str = "?") -> Conversation:
    """Receive one message and return its conversation."""
    return receive_text(api_channel, text, who=who).conversation


def move_windows_back(by: timedelta, **which: Any) -> None:
    """Shift windows into the past; ``which``: lookups that select them, all without any."""
    ServiceWindow.objects.filter(**which).update(opened_at=F("opened_at") - by, expires_at=F("expires_at") - by)


def client_writes(
    channel: ApiChannel, name: str, text: str = "?", *, ago: timedelta = timedelta(0), phone: str = ""
) -> Conversation:
    """Receive a client's message that was written ``ago``. The client's window moves back with the message."""
    chat = receive_text(channel, text, who=name, name=name, phone=phone).conversation
    if ago:
        move_windows_back(ago, conversation=chat)
        Conversation.objects.filter(pk=chat.pk).update(
            last_message_at=timezone.now() - ago, waiting_since=F("waiting_since") - ago
        )
    chat.refresh_from_db()
    return chat


def mark_written(chat: Conversation, text: str = "Hello") -> None:
    """Mark the chat as one with a new message of the client, without the message."""
    Conversation.objects.filter(pk=chat.pk).update(
        last_message_at=timezone.now(), last_text=text, last_direction="inbound"
    )


def boris_answers(chat: Conversation, text: str = "Да") -> Message:
    """Submit an operator's reply and return its message."""
    message = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=boris(chat.chat_channel)).message
    assert message is not None
    return message


def outbound_texts() -> list[str]:
    """Return the texts of all outbound messages, in order."""
    return list(Message.objects.filter(direction="outbound").order_by("pk").values_list("text", flat=True))


def make_deliveries_due() -> None:
    Delivery.objects.filter(state="pending").update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def create_channel_to(receiver: Receiver, path: str, **fields: Any) -> ApiChannel:
    """Create an Acebot channel that sends to the receiver and tracks no events."""
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url(path), secret=True, **fields)
    ApiChannel.objects.update(track_message=False, track_new_chat=False, track_resumed=False)
    channel.refresh_from_db()
    return channel
