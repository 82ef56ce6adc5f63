"""What is said of a contact afterwards: changed numbers and ids. It may come twice, and late."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactChanged, ContactInfo

from . import conversations
from .contacts import LIMITS
from .helpdesk import telling
from .models import Contact, Conversation, Message


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
