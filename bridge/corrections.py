"""What is said of a message or a contact afterwards: reactions, edits, messages taken back, changed numbers.

Part of station 3. Everything here may come twice, late, or for a message that we do not have.
"""

from __future__ import annotations

from datetime import datetime
from functools import singledispatch
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from channels_setup.models import ApiChannel
from channels_setup.providers.base import (
    ContactChanged,
    ContactInfo,
    Correction,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    ReactionChanged,
)

from . import conversations, held, windows
from .contacts import LIMITS
from .helpdesk import telling
from .models import Contact, Conversation, Message

MOST_FORMER = 20  # texts of a message that is edited again and again


@transaction.atomic
def apply(api_channel: ApiChannel, fact: Correction) -> list[MessageReceived]:
    """Correct the message meant. Where we do not have it, what to store as a message instead, so that it is seen."""
    known = Message.objects.filter(api_channel=api_channel, external_id=fact.target_id).values_list("conversation_id")
    conversation_id = known.values_list("conversation_id", flat=True).first() if fact.target_id else None
    if conversation_id is None:
        return _as_message(fact)
    conversation = conversations.lock(conversation_id)
    message = Message.objects.select_for_update(no_key=True).get(api_channel=api_channel, external_id=fact.target_id)
    _correct(fact, message, conversation)
    return []


@singledispatch
def _correct(fact: Correction, message: Message, conversation: Conversation) -> None:
    raise TypeError(type(fact))


@_correct.register
def _(fact: ReactionChanged, message: Message, conversation: Conversation) -> None:
    by = "us" if fact.by_us else "client"
    seen = message.shown.get("reacted_at", {})
    if not _is_newer(fact.at, seen.get(by)):
        return
    others = [reaction for reaction in message.reactions if reaction["by"] != by]
    message.reactions = [*others, {"by": by, "emoji": fact.emoji[:40]}] if fact.emoji else others
    message.shown = message.shown | {"reacted_at": {**seen, by: _stamp(fact.at)}}
    message.save(update_fields=["reactions", "shown"])
    if fact.emoji and not fact.by_us:  # the contact did something in the chat; taking it away again is nothing
        now = windows.database_now()
        written = windows.Written(
            conversation_id=conversation.pk,
            at=fact.at or now,
            message_id=message.pk,
            merged_contact_id=message.merged_contact_id,
        )
        windows.prolong([written], now=now)
        held.release([conversation.pk])


@_correct.register
def _(fact: MessageEdited, message: Message, conversation: Conversation) -> None:
    if not _is_newer(fact.at, message.shown.get("edited_at")) or fact.text == message.text:
        return
    former = [*message.shown.get("former", []), message.text][-MOST_FORMER:]
    if conversation.last_text == message.text[:200]:
        Conversation.objects.filter(pk=conversation.pk).update(last_text=fact.text[:200])
    message.text = fact.text
    message.shown = message.shown | {"former": former, "edited_at": _stamp(fact.at)}
    message.save(update_fields=["text", "shown"])


@_correct.register
def _(fact: MessageRevoked, message: Message, conversation: Conversation) -> None:
    """The words stay on record, marked as taken back: they may have been answered already."""
    if "revoked_at" not in message.shown:
        message.shown = message.shown | {"revoked_at": _stamp(fact.at)}
        message.save(update_fields=["shown"])


def _stamp(at: datetime | None) -> str:
    return (at or timezone.now()).isoformat()


def _is_newer(at: datetime | None, before: str | None) -> bool:
    return before is None or at is None or at >= datetime.fromisoformat(before)


def _as_message(fact: Correction) -> list[MessageReceived]:
    """A client's reaction or edit whose message is not here is still a word of theirs."""
    if isinstance(fact, ReactionChanged) and fact.emoji and not fact.by_us:
        shown: dict[str, Any] = {"what": "reaction", "emoji": fact.emoji[:40]}
        text = fact.emoji
    elif isinstance(fact, MessageEdited) and fact.text:
        shown, text = {"edited_at": _stamp(fact.at)}, fact.text
    else:
        return []
    received = MessageReceived(contact=fact.contact, text=text, external_id=fact.external_id, at=fact.at, shown=shown)
    return [received]


# --- contacts --------------------------------------------------------------------------------------------


@transaction.atomic
def change_contact(api_channel: ApiChannel, fact: ContactChanged) -> Contact | None:
    """A contact moves to another number or id, with a notice in its chats. One that is taken is left to its owner."""
    contact = _meant(api_channel, fact.contact)
    if contact is None:
        return None
    before = contact.phone or contact.external_id or contact.user_id
    told = {name: getattr(fact.now, name)[:limit] for name, limit in LIMITS.items()}
    changed = {name: value for name, value in told.items() if value and value != getattr(contact, name)}
    for name, value in changed.items():
        setattr(contact, name, value)
    if changed:
        try:
            with transaction.atomic():
                contact.save(update_fields=list(changed))
        except IntegrityError:
            contact.refresh_from_db()
            return contact
        told_of = Conversation.objects.filter(contact=contact, helpdesk_chat__isnull=False).order_by("pk")
        for pk in told_of.values_list("pk", flat=True):
            telling.card_changed(conversations.lock(pk))
    if changed or not any(told.values()):
        after = contact.phone or contact.external_id or contact.user_id
        _say(contact, fact, before=before, after=after)
    return contact


def _meant(api_channel: ApiChannel, info: ContactInfo) -> Contact | None:
    mine = Contact.objects.select_for_update(no_key=True).filter(api_channel=api_channel)
    found = mine.filter(external_id=info.external_id).first() if info.external_id else None
    return found or (mine.filter(user_id=info.user_id).first() if info.user_id else None)


def _say(contact: Contact, fact: ContactChanged, *, before: str, after: str) -> None:
    """Once in each chat, however often the news come."""
    for conversation in Conversation.objects.filter(contact=contact).order_by("pk"):
        told = Message.objects.filter(conversation=conversation, direction=Message.Direction.NOTICE)
        if not fact.external_id or not told.filter(details__news=fact.external_id).exists():
            conversations.notice(conversation, fact.reason, before=before, after=after, news=fact.external_id)
