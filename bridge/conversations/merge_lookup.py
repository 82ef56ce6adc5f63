"""Where the words of a merged contact belong: its owner, and the conversation that holds its messages now."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection

from bridge.models import Contact, Conversation, MergedConversation


def get_owners(contacts: Iterable[Contact]) -> dict[int, Contact]:
    """The contacts that have the conversations of these, by id. Asks the database only where one was merged."""
    given = list(contacts)
    found = {contact.pk: contact for contact in given if contact.merged_into_id is None}
    missing = {contact.owner_id for contact in given} - found.keys()
    return found | (Contact.objects.in_bulk(missing) if missing else {})


def get_owner(contact: Contact) -> Contact:
    return get_owners([contact])[contact.owner_id]


def list_people(contact: Contact) -> list[Contact]:
    """The contact with all that were merged into it, the oldest first after itself."""
    merged = Contact.objects.filter(merged_into=contact.pk).order_by("pk") if contact.has_merged else ()
    return [contact, *merged]


def find_current_conversation(former_id: int) -> int | None:
    """The conversation that holds the messages of one that was merged; None where there was none of this number."""
    rows = MergedConversation.objects.filter(old_id=former_id)
    return rows.values_list("conversation_id", flat=True).first()


def is_any_merged(contact_ids: Iterable[int]) -> bool:
    """Whether one of these contacts has been merged by now.

    Asked after a conversation was created for them: the rows are locked, so that a merge which has not yet committed is
    waited for, and one that comes later finds the new conversation.
    """
    ids = sorted(set(contact_ids))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT merged_into_id FROM bridge_contact WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [ids]
        )
        return any(row[0] is not None for row in cursor.fetchall())


def delete_empty_conversations(pairs: Collection[tuple[int, int]]) -> None:
    """Delete the conversations that were just created for contacts who turned out to be merged."""
    for contact_id, chat_channel_id in pairs:
        Conversation.objects.filter(
            contact=contact_id, chat_channel=chat_channel_id, contact__merged_into__isnull=False, messages=None
        ).delete()
