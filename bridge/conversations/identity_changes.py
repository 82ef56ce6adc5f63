"""News of a contact that nobody wrote: another number, user id or phone; a wish about marketing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from bridge.models import Contact, FormerId
from channels_setup.codecs.phone_numbers import id_key
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactChanged, ContactInfo

from . import contact_links, contacts
from .contact_links import Change


@transaction.atomic
def apply(api_channel: ApiChannel, fact: ContactChanged) -> Contact | None:
    """Give the contact its new ids, or point at the contact that has them; tell the operators in all chats concerned.

    Returns the contact under which the person writes now, None where nobody here is meant.
    """
    before = _find(api_channel, fact.contact)
    if not (fact.now.external_id or fact.now.user_id):
        if before is not None:
            contact_links.announce([_same_ids(before, fact)])
        return before
    contact, changes = _changed(api_channel, fact, before)
    contact_links.announce(changes)
    return contact


def _same_ids(contact: Contact, fact: ContactChanged) -> Change:
    """News that leave the ids as they are: another phone on the card, another device, a wish about marketing."""
    before = contact_links.shown_id(contact)
    if fact.now.phone:
        contact.phone = fact.now.phone[: contacts.LIMITS["phone"]]
        contact.save(update_fields=["phone"])
    details = {"before": before, "after": contact_links.shown_id(contact)}
    return Change(contact=contact, reason=fact.reason, details=details, news=fact.external_id)


def _changed(
    api_channel: ApiChannel, fact: ContactChanged, before: Contact | None
) -> tuple[Contact | None, list[Change]]:
    now, at, news = fact.now, fact.at or timezone.now(), fact.external_id
    by_number = _find(api_channel, ContactInfo(external_id=now.external_id)) if now.external_id else None
    by_user = _find(api_channel, ContactInfo(user_id=now.user_id)) if now.user_id else None
    target = by_number or by_user
    if before is None and target is None:
        return None, []
    if before is None or target is None or target.pk == before.pk:
        contact, changes = before or target, []
        assert contact is not None
    else:
        contact, changes = target, contact_links.move(before, target, at=at, news=news)
    if by_user is not None and by_user.pk != contact.pk:
        changes += contact_links.move(by_user, contact, at=at, news=news)
        contact.refresh_from_db()
    own = _own(contact, fact, at=at)
    return contact, changes or own  # a move that was told already says it all


def _own(contact: Contact, fact: ContactChanged, *, at: datetime) -> list[Change]:
    """Put the new ids on a contact. An id that the news does not repeat has changed with the other one."""
    external_id = fact.now.external_id[: contacts.LIMITS["external_id"]]
    user_id = fact.now.user_id[: contacts.LIMITS["user_id"]]
    before = contact_links.shown_id(contact)
    is_other_number = bool(external_id) and id_key(external_id) != contact.address_key
    changes = contact_links.change_number(
        contact, external_id, user_id=user_id, at=at, news=fact.external_id, reason=fact.reason
    )
    if changes and is_other_number and not user_id:
        contact_links.release(contact, FormerId.Kind.USER_ID, until=at)
    if changes and not external_id:
        contact_links.release(contact, FormerId.Kind.EXTERNAL_ID, until=at)
    return [replace(change, details=change.details | {"before": before}) for change in changes]


def _find(api_channel: ApiChannel, info: ContactInfo) -> Contact | None:
    """The contact with one of these ids, its row locked; the number counts in any of its spellings."""
    mine = Contact.objects.select_for_update(no_key=True).filter(api_channel=api_channel)
    found = mine.filter(external_id=info.external_id).first() if info.external_id else None
    if found is None and info.external_id and (key := contacts.number_key(api_channel, info)):
        fitting = mine.with_phone([key]).filter(moved_to=None).order_by("pk")
        found = next((one for one in fitting if contacts.number_key(api_channel, one) == key), None)
    return found or (mine.filter(user_id=info.user_id).first() if info.user_id else None)
