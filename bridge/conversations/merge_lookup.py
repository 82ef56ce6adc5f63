"""Look up merged contacts: the owner of their chats, and the conversation that holds their messages now."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from bridge.models import Contact, Conversation, MergedConversation


def get_owners(contacts: Iterable[Contact]) -> dict[int, Contact]:
    """Return the owners of the contacts' conversations by ID. Runs a query only if a contact was merged."""
    contacts = list(contacts)
    owners = {contact.pk: contact for contact in contacts if contact.merged_into_id is None}
    missing = {contact.owner_id for contact in contacts} - owners.keys()
    return owners | (Contact.objects.in_bulk(missing) if missing else {})


def get_owner(contact: Contact) -> Contact:
    """Return the owner of a contact's conversations."""
    return get_owners([contact])[contact.owner_id]


def list_people(contact: Contact, *, visible_in: Collection[int] | None = None) -> list[Contact]:
    """Return the contact, then the contacts merged into it, oldest first.

    ``visible_in``: IDs of chat channels; contacts that had chats only in other channels are left out.
    """
    if not contact.has_merged:
        return [contact]
    merged = Contact.objects.filter(merged_into=contact.pk).order_by("pk")
    return [contact, *(merged if visible_in is None else filter_visible_people(merged, visible_in))]


def filter_visible_people(people: QuerySet[Contact], channels: Collection[int]) -> QuerySet[Contact]:
    """Leave out merged contacts that had chats only in other chat channels than these.

    The contact that they were merged into may have a chat in these channels. Its users must not learn the names and
    numbers under which the person wrote elsewhere.
    """
    moved = MergedConversation.objects.filter(merge__source=OuterRef("pk"), merge__undone_at=None)
    is_visible = Exists(moved.filter(conversation__chat_channel__in=list(channels)))
    return people.filter(Q(merged_into=None) | Q(is_visible) | ~Q(Exists(moved)))


def find_current_conversation(former_id: int) -> int | None:
    """Return the ID of the conversation into which this one was merged, or None."""
    rows = MergedConversation.objects.filter(old_id=former_id)
    return rows.values_list("conversation_id", flat=True).first()


def is_any_merged(contact_ids: Iterable[int]) -> bool:
    """Return whether one of these contacts has been merged by now.

    Called after a conversation was created for them. Locks the contacts: it waits for a merge in progress, and a later
    merge finds the new conversation.
    """
    ids = sorted(set(contact_ids))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT merged_into_id FROM bridge_contact WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [ids]
        )
        return any(row[0] is not None for row in cursor.fetchall())


def delete_empty_conversations(pairs: Collection[tuple[int, int]]) -> None:
    """Delete conversations just created for contacts that turned out to be merged."""
    for contact_id, chat_channel_id in pairs:
        Conversation.objects.filter(
            contact=contact_id, chat_channel=chat_channel_id, contact__merged_into__isnull=False, messages=None
        ).delete()
