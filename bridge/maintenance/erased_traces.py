"""What names a person outside their messages: requests, corrections, links, stored responses, alerts, the admin log."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat

from bridge import idempotency, person_erased
from bridge.models import (
    Alert,
    Contact,
    ContactMerge,
    Conversation,
    ConversationActivity,
    Delivery,
    HeldReply,
    HelpdeskChat,
    HelpdeskDuplicateWindow,
    HelpdeskReply,
    IdempotencyKey,
    MergedConversation,
    Message,
    Mismatch,
    PendingCorrection,
    RateLimit,
    TemplateLink,
    Ticket,
    TicketTag,
)


def erase_traces(contact: Contact, chats: QuerySet[Conversation], identifiers: list[str], pattern: str) -> None:
    """Erase what else names the person: requests, corrections, helpdesk links, stored responses, alerts, the log."""
    PendingCorrection.objects.filter(_match_corrections(contact), api_channel=contact.api_channel_id).delete()
    Mismatch.objects.filter(conversation__in=chats).update(external_id="")
    Alert.objects.filter(delivery__conversation__in=chats).update(details={})
    _erase_tickets(chats)
    ConversationActivity.objects.filter(conversation__in=chats).update(details={})
    chats.update(last_text="", unread=0, change_after_answer="", unread_marked_at=None)
    for model in (HelpdeskChat, HelpdeskReply, HelpdeskDuplicateWindow, TemplateLink):
        model.objects.filter(conversation__in=chats).delete()
    _erase_idempotency_keys(contact, chats)
    _erase_merges(contact)
    for identifier in identifiers:
        RateLimit.objects.filter(api_channel=contact.api_channel_id, key__endswith=f" {identifier}").delete()
    _erase_admin_log(contact, chats)
    if pattern:
        _erase_texts_of_others(contact, pattern)


def _match_corrections(contact: Contact) -> Q:
    """Match pending corrections by the contact's IDs at the provider."""
    ids = {"external_id": contact.external_id, "user_id": contact.user_id}
    return reduce(or_, (Q(**{f"contact__{name}": value}) for name, value in ids.items() if value), Q(pk__in=[]))


def _erase_merges(contact: Contact) -> None:
    """Erase the undo data of merges. An erased person's merge can no longer be undone."""
    merges = ContactMerge.objects.filter(Q(source=contact) | Q(target=contact))
    MergedConversation.objects.filter(merge__in=merges).update(row={}, rows={}, before={}, helpdesk_chat_id=None)
    merges.update(before={})


def _erase_tickets(chats: QuerySet[Conversation]) -> None:
    """Empty requests. Delete tags that no other request has: a tag may be a name."""
    rows = Ticket.objects.filter(conversation__in=chats)
    tags = {tag for names in rows.exclude(tags=[]).values_list("tags", flat=True) for tag in names}
    rows.update(subject="", first_text="", additional_id="", tags=[], custom_fields={}, external_id=None)
    for tag in tags:
        if not Ticket.objects.filter(tags__contains=[tag]).exists():
            TicketTag.objects.filter(name=tag).delete()


# Texts about a channel, which may quote the provider's or the helpdesk's words about a person.
TEXTS_OF_OTHERS = (
    ("bridge_alert", "details", "'{}'"),
    ("bridge_straystatus", "external_id", "'erased ' || id"),
    ("bridge_straystatus", "title", "''"),
    ("bridge_straystatus", "details", "''"),
    ("bridge_mismatch", "external_id", "''"),  # of a stray status
    ("bridge_helpdeskconnection", "last_error", "''"),
    ("channels_setup_apichannel", "last_error", "''"),
)


# An error webhook of the provider (``inbox.account_updates``) may quote the recipient. Its other entries stay.
DELETE_ACCOUNT_UPDATES = """
UPDATE channels_setup_apichannel SET provider_status = jsonb_set(provider_status, '{updates}', (
    SELECT coalesce(jsonb_agg(entry ORDER BY position), '[]')
    FROM jsonb_array_elements(provider_status -> 'updates') WITH ORDINALITY AS entries (entry, position)
    WHERE encode(convert_to(entry::text, 'UTF8'), 'escape') !~ %s))
WHERE jsonb_typeof(provider_status -> 'updates') = 'array'
  AND encode(convert_to((provider_status -> 'updates')::text, 'UTF8'), 'escape') ~ %s
"""


def _erase_texts_of_others(contact: Contact, pattern: str) -> None:
    """Erase texts outside the person's chats that contain one of their identifiers."""
    with connection.cursor() as cursor:
        for table, column, empty in TEXTS_OF_OTHERS:
            text = f"encode(convert_to({column}::text, 'UTF8'), 'escape')"
            cursor.execute(f"UPDATE {table} SET {column} = {empty} WHERE {text} ~ %s", [pattern])
        cursor.execute(DELETE_ACCOUNT_UPDATES, [pattern, pattern])
        text = "encode(convert_to(concat_ws(' ', contact::text, target_id, external_id), 'UTF8'), 'escape')"
        cursor.execute(
            f"DELETE FROM bridge_pendingcorrection WHERE api_channel_id = %s AND {text} ~ %s",
            [contact.api_channel_id, pattern],
        )


def _erase_idempotency_keys(contact: Contact, chats: QuerySet[Conversation]) -> None:
    """Delete stored responses of the desk. Those of programs become a refusal, so that a repeat restores nobody."""
    pks = list(chats.values_list("pk", flat=True))
    for pk in pks:
        IdempotencyKey.objects.filter(owner__startswith=f"chat {pk}/").delete()
    refusal = {"error": str(person_erased.SENTENCE)}
    path = "$.**.chat_id ? (@ == $chat)", "$.**.client_id ? (@ == $chat)"
    named = Q(contact_ids__contains=[contact.pk])
    for values, query in ((pks, path[0]), ([contact.pk], path[1])):
        for pk in values:
            named |= Q(pk__in=_find_keys_by_answer(query, pk))
    for row in IdempotencyKey.objects.filter(named):
        is_api = row.owner.startswith("user:")
        row.key = row.key if row.key.startswith(idempotency.ERASED_PREFIX) else idempotency.hash_key(row.key)
        row.status = person_erased.STATUS if is_api else 200
        row.answer = refusal | ({"reason": person_erased.REASON} if is_api else {"code": person_erased.STATUS})
        row.save(update_fields=["key", "status", "answer"])


def _find_keys_by_answer(path: str, value: int) -> list[int]:
    """Return stored responses that contain this chat or client: those of earlier releases have no link."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM bridge_idempotencykey WHERE contact_ids IS NULL AND jsonb_path_exists(answer, %s, %s)",
            [path, json.dumps({"chat": value})],
        )
        return [row[0] for row in cursor.fetchall()]


def _erase_admin_log(contact: Contact, chats: QuerySet[Conversation]) -> None:
    """Remove the person from the admin log, which contains object names."""
    rows: dict[str, QuerySet[Any]] = {
        "contact": Contact.objects.filter(pk=contact.pk),
        "conversation": chats,
        "ticket": Ticket.objects.filter(conversation__in=chats),
        "message": Message.objects.filter(conversation__in=chats),
        "delivery": Delivery.objects.filter(conversation__in=chats),
        "heldreply": HeldReply.objects.filter(conversation__in=chats),
        "contactmerge": ContactMerge.objects.filter(Q(source=contact) | Q(target=contact)),
    }
    entries = LogEntry.objects.filter(content_type__app_label="bridge")
    for model, objects in rows.items():
        ids = objects.annotate(text_id=Cast("pk", TextField())).values("text_id")
        entries.filter(content_type__model=model, object_id__in=ids).update(
            object_repr=Concat(Value("№ "), "object_id", output_field=TextField()), change_message=""
        )
