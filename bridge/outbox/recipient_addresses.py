"""Contacts' addresses at the moment of sending: a number may have changed since a message was queued."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from bridge.conversations import contact_links
from bridge.models import Contact, Conversation, Delivery
from channels_setup import prepared_statements

# Plain SQL, because it runs for every claim.
ADDRESSES_SQL = "SELECT id, external_id, user_id, phone, moved_to_id IS NOT NULL FROM bridge_contact WHERE id = ANY(%s)"


def refresh_addresses(deliveries: Sequence[Delivery]) -> set[int]:
    """Put the contacts' current IDs into claimed messages. Return the IDs of deliveries that lost their address.

    Such a contact now writes from another number, and the old number may belong to someone else.
    """
    wanted: dict[int, list[Delivery]] = {}
    for delivery in deliveries:
        contact_id = (delivery.payload.get("contact") or {}).get("id")
        if delivery.kind in Delivery.TO_CONTACT and contact_id:
            wanted.setdefault(contact_id, []).append(delivery)
    if not wanted:
        return set()
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, ADDRESSES_SQL, [list(wanted)])
        found = cursor.fetchall()
    moved: set[int] = set()
    for contact_id, external_id, user_id, phone, has_moved in found:
        for delivery in wanted[contact_id]:
            if has_moved and not _follow_moved_contact(delivery, contact_id):
                moved.add(delivery.pk)
            elif not has_moved and (external_id or user_id):
                delivery.payload["contact"] |= {"external_id": external_id, "phone": phone, "user_id": user_id}
    return moved


def _follow_moved_contact(delivery: Delivery, contact_id: int) -> bool:
    """Address a message to the contact's new number if it is in the same chat. Return whether it is."""
    contact = Contact.objects.select_related("moved_to").get(pk=contact_id)
    present = contact_links.find_recipient(contact, Conversation.objects.get(deliveries=delivery))
    if present is None:
        return False
    ids = {"external_id": present.external_id, "phone": present.phone, "user_id": present.user_id}
    delivery.payload["contact"] |= ids
    return True
