"""Identity changes reported by the provider: new number, user ID or phone; marketing preferences."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from bridge.models import Contact, FormerId, OptOut, OptOutSource
from channels_setup.codecs.phone_numbers import id_key
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactChanged, ContactInfo

from . import consents, contact_links, contacts
from .contact_links import IdentityChange


@transaction.atomic
def apply_identity_change(api_channel: ApiChannel, fact: ContactChanged) -> Contact | None:
    """Give the contact its new IDs, or link it to the contact that has them. Notify operators in all its chats.

    Return the contact under which the person writes now, or None if no contact is known.
    """
    before = _find_contact_for_update(api_channel, fact.contact)
    if not (fact.now.external_id or fact.now.user_id):
        if before is not None:
            contact_links.announce_changes([_apply_card_change(before, fact)])
        return before
    contact, changes = _reconcile_ids(api_channel, fact, before)
    contact_links.announce_changes(changes)
    return contact


def _apply_card_change(contact: Contact, fact: ContactChanged) -> IdentityChange:
    """Return the change for an event that keeps the IDs: another phone, another device, marketing preferences."""
    before = contact_links.display_id(contact)
    if fact.now.phone:
        contact.phone = fact.now.phone[: contacts.MAX_LENGTHS["phone"]]
        contact.save(update_fields=["phone"])
    if fact.marketing is not None and contact.erased_at is None:
        consents.set_opt_out(
            contact.pk,
            OptOut.NONE if fact.marketing else OptOut.MARKETING,
            source=OptOutSource.WHATSAPP,
            at=fact.at,
        )
    details = {"before": before, "after": contact_links.display_id(contact)}
    return IdentityChange(contact=contact, reason=fact.reason, details=details, event_id=fact.external_id)


def _reconcile_ids(
    api_channel: ApiChannel, fact: ContactChanged, before: Contact | None
) -> tuple[Contact | None, list[IdentityChange]]:
    now, at, event_id = fact.now, fact.at or timezone.now(), fact.external_id
    by_number = (
        _find_contact_for_update(api_channel, ContactInfo(external_id=now.external_id)) if now.external_id else None
    )
    by_user = _find_contact_for_update(api_channel, ContactInfo(user_id=now.user_id)) if now.user_id else None
    target = by_number or by_user
    if before is None and target is None:
        return None, []
    if before is None or target is None or target.pk == before.pk:
        contact, changes = before or target, []
        assert contact is not None
    else:
        contact, changes = target, contact_links.move_contact(before, target, at=at, event_id=event_id)
    if by_user is not None and by_user.pk != contact.pk:
        changes += contact_links.move_contact(by_user, contact, at=at, event_id=event_id)
        contact.refresh_from_db()
    own = _set_new_ids(contact, fact, at=at)
    return contact, changes or own  # a move already announces the new ID


def _set_new_ids(contact: Contact, fact: ContactChanged, *, at: datetime) -> list[IdentityChange]:
    """Set the new IDs of a contact. An ID that the event does not repeat is no longer valid."""
    external_id = fact.now.external_id[: contacts.MAX_LENGTHS["external_id"]]
    user_id = fact.now.user_id[: contacts.MAX_LENGTHS["user_id"]]
    before = contact_links.display_id(contact)
    is_other_number = bool(external_id) and id_key(external_id) != contact.address_key
    changes = contact_links.change_number(
        contact, external_id, user_id=user_id, at=at, event_id=fact.external_id, reason=fact.reason
    )
    if changes and is_other_number and not user_id:
        contact_links.release_id(contact, FormerId.Kind.USER_ID, until=at)
    if changes and not external_id:
        contact_links.release_id(contact, FormerId.Kind.EXTERNAL_ID, until=at)
    return [replace(change, details=change.details | {"before": before}) for change in changes]


def _find_contact_for_update(api_channel: ApiChannel, info: ContactInfo) -> Contact | None:
    """Lock and return the contact with one of these IDs. The number matches in any spelling."""
    rows = Contact.objects.select_for_update(no_key=True).filter(api_channel=api_channel)
    found = rows.filter(external_id=info.external_id).first() if info.external_id else None
    if found is None and info.external_id and (key := contacts.get_number_key(api_channel, info)):
        candidates = rows.with_phone([key]).filter(moved_to=None).order_by("pk")
        found = next((contact for contact in candidates if contacts.get_number_key(api_channel, contact) == key), None)
    return found or (rows.filter(user_id=info.user_id).first() if info.user_id else None)
