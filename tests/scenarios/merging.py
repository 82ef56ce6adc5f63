"""Two numbers of one client, Anna and Anya: messages and lookups for merging tests."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from bridge.conversations import receiving
from bridge.models import Contact, Conversation, Delivery, Message
from bridge.relay import held_replies
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived

ANNA, ANYA = "79215550104", "4915112345678"
NAMES = {ANNA: "Анна", ANYA: "Anna S."}


def writes(
    channel: ApiChannel, who: str, text: str, *, hours: float = 0, chat_channel: ChatChannel | None = None
) -> Message:
    """Receive a client's message that was written ``hours`` ago, now."""
    fact = MessageReceived(
        contact=ContactInfo(external_id=who, phone=f"+{who}", name=NAMES.get(who, who)),
        text=text,
        external_id=f"{who} {text}",
        at=timezone.now() - timedelta(hours=hours),
    )
    place = chat_channel or channel.default_chat_channel
    assert place is not None
    received = receiving.receive_messages(channel, [receiving.IncomingMessage(fact=fact, chat_channel=place)])[0]
    held_replies.release_held_replies([received.conversation.pk])
    return received.message


def contact(who: str) -> Contact:
    return Contact.objects.get(external_id=who)


def chat_of(who: str) -> Conversation:
    return Conversation.objects.get(contact__external_id=who)


def recipients() -> list[str]:
    """Return the recipients of queued messages, in order."""
    waiting = Delivery.objects.filter(kind=Delivery.Kind.MESSAGE, state=Delivery.State.PENDING).order_by("pk")
    return [row.payload["contact"]["external_id"] for row in waiting]
