"""Erasure of a person: all their data, in all tables and on disk; queued messages are not sent.

Rows that others depend on (requests in a report, statistics) stay, without personal data. Stored webhooks are processed
first, or they would restore the person; later redeliveries are recognized by their hash (`erased_ids`). The receipt
contains who, when and how much, and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from django.contrib.admin.models import LogEntry
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from bridge import service_window
from bridge.conversations import erased_ids, merge_lookup, tickets
from bridge.inbox import processing
from bridge.models import (
    Attachment,
    Attempt,
    Contact,
    ContactChange,
    ContactMerge,
    ContactNote,
    Conversation,
    Delivery,
    Draft,
    Erasure,
    FormerId,
    HeldReply,
    HelpdeskChat,
    HelpdeskDuplicateWindow,
    HelpdeskReply,
    IdempotencyKey,
    MergedConversation,
    Message,
    Mismatch,
    PendingCorrection,
    ProviderUpload,
    RateLimit,
    ServiceWindow,
    StrayStatus,
    TemplateLink,
    Ticket,
    Upload,
)
from channels_setup.failing_items import FailingItems

logger = logging.getLogger(__name__)
ERASED_FILES = FailingItems("files of erased contacts")

MIN_UNQUOTED_LENGTH = 6  # shorter IDs are searched with quotes, to avoid false matches
ERASE_PERMISSION = "bridge.erase_contact"


def find_same_person(contact: Contact) -> list[Contact]:
    """Return all contacts of the person: merged ones, moved ones, and those with the same phone on other channels."""
    found = {one.pk: one for one in merge_lookup.list_people(merge_lookup.get_owner(contact))}
    checked: set[int] = set()
    while found.keys() - checked:
        unchecked = [one for pk, one in found.items() if pk not in checked]
        checked = set(found)
        query = Q(moved_to__in=checked)
        for one in unchecked:
            digits = one.phone.lstrip("+")
            if len(digits) >= MIN_UNQUOTED_LENGTH:
                query |= Q(phone__in=[digits, f"+{digits}"])
                query |= Q(phone_key=one.phone_key) if one.phone_key else Q()
        for one in Contact.objects.filter(query).exclude(pk__in=checked):
            found |= {each.pk: each for each in merge_lookup.list_people(merge_lookup.get_owner(one))}
    return [found[pk] for pk in sorted(found)]


def erase_person(contact_id: int, *, by: Any) -> list[Erasure]:
    """Erase a person wherever they are known. Return a receipt per contact; none if already erased."""
    processing.process_inbox()
    contact = Contact.objects.get(pk=contact_id)
    receipts = [_erase_contact(one.pk, by=by) for one in find_same_person(contact)]
    return [receipt for receipt in receipts if receipt is not None]


@transaction.atomic
def _erase_contact(contact_id: int, *, by: Any) -> Erasure | None:
    chats = Conversation.objects.filter(contact=contact_id)
    # Lock the contact before the chat, as inbound messages do, to avoid a deadlock.
    contact = Contact.objects.select_for_update(no_key=True).get(pk=contact_id)
    if contact.erased_at:
        return None
    list(chats.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    ids = list(
        Message.objects.filter(conversation__in=chats).exclude(external_id="").values_list("external_id", flat=True)
    )
    erased_ids.remember_erased(contact.api_channel_id, ids)
    counts = {
        "deliveries": _erase_deliveries(chats),
        "requests received": _erase_raw_requests(contact, chats) + _erase_helpdesk_requests(chats),
        "files": _erase_files(chats),
        "messages": _erase_messages(chats),
        "notes": ContactNote.objects.filter(contact=contact).delete()[0],
        "changes": ContactChange.objects.filter(contact=contact).delete()[0],
        "drafts": Draft.objects.filter(conversation__in=chats).delete()[0],
        "held replies": _erase_held_replies(chats),
    }
    StrayStatus.objects.filter(api_channel=contact.api_channel_id, external_id__in=ids).delete()
    PendingCorrection.objects.filter(_match_corrections(contact), api_channel=contact.api_channel_id).delete()
    Mismatch.objects.filter(conversation__in=chats).update(external_id="")
    Ticket.objects.filter(conversation__in=chats).update(
        subject="", first_text="", additional_id="", tags=[], custom_fields={}
    )
    chats.update(last_text="", unread=0, change_after_answer="")
    for model in (HelpdeskChat, HelpdeskReply, HelpdeskDuplicateWindow, TemplateLink):
        model.objects.filter(conversation__in=chats).delete()
    _erase_idempotency_keys(chats)
    _erase_merges(contact)
    for identifier in list_identifiers(contact):
        RateLimit.objects.filter(api_channel=contact.api_channel_id, key__endswith=f" {identifier}").delete()
    _erase_admin_log(contact, chats)
    Contact.objects.filter(pk=contact.pk).update(
        external_id="",
        user_id="",
        caller_id="",
        username="",
        phone="",
        name="",
        name_source=Contact.NameSource.PROFILE,
        number_issued=False,
        email="",
        tags=[],
        card={},
        erased_at=service_window.database_now(),
    )
    FormerId.objects.filter(contact=contact).delete()
    _close_conversations(chats, by=by)
    logger.info("person erased", extra={"contact": contact.pk, "by": getattr(by, "pk", None)})
    return Erasure.objects.create(contact=contact, by=by, counts=counts)


def _match_corrections(contact: Contact) -> Q:
    """Match pending corrections by the contact's IDs at the provider."""
    ids = {"external_id": contact.external_id, "user_id": contact.user_id}
    return reduce(or_, (Q(**{f"contact__{name}": value}) for name, value in ids.items() if value), Q(pk__in=[]))


def _erase_merges(contact: Contact) -> None:
    """Erase the undo data of merges. An erased person's merge can no longer be undone."""
    merges = ContactMerge.objects.filter(Q(source=contact) | Q(target=contact))
    MergedConversation.objects.filter(merge__in=merges).update(row={}, rows={}, before={}, helpdesk_chat_id=None)
    merges.update(before={})


def _close_conversations(chats: QuerySet[Conversation], *, by: Any) -> None:
    """Close windows and requests: the person can no longer be answered."""
    now = service_window.database_now()
    unexpired = Q(state=ServiceWindow.State.OPEN) | Q(expires_at__gt=now)
    ServiceWindow.objects.filter(unexpired, conversation__in=chats, opened_at__lt=now).update(
        state=ServiceWindow.State.CLOSED, expires_at=now, missed=False
    )
    live = Ticket.objects.filter(conversation__in=chats).exclude(status__in=Ticket.ENDED)
    for ticket_id in list(live.order_by("pk").values_list("pk", flat=True)):
        tickets.set_ticket_status(ticket_id, status=Ticket.Status.CLOSED, by=getattr(by, "pk", None))


def list_identifiers(contact: Contact) -> list[str]:
    """Return the strings that identify a person in data from other systems."""
    return [
        identifier
        for identifier in (
            *(contact.external_id, contact.user_id, contact.caller_id, contact.username),
            *(contact.phone.lstrip("+"), contact.email, *contact.former_ids.values_list("value", flat=True)),
        )
        if identifier
    ]


def _erase_deliveries(chats: QuerySet[Conversation]) -> int:
    """Cancel queued deliveries and clear contents. Clearing the lease discards results of running calls."""
    deliveries = Delivery.objects.filter(conversation__in=chats)
    Attempt.objects.filter(delivery__in=deliveries).exclude(answer="").update(answer="")
    deliveries.filter(state__in=[*Delivery.UNFINISHED, Delivery.State.DEAD, Delivery.State.UNKNOWN]).update(
        state=Delivery.State.CANCELLED,
        reason="person_erased",
        lease_token=None,
        finished_at=service_window.database_now(),
    )
    return deliveries.update(payload={})


def _erase_messages(chats: QuerySet[Conversation]) -> int:
    messages = Message.objects.filter(conversation__in=chats)
    messages.filter(status__in=[Message.Status.PENDING, Message.Status.SENDING, Message.Status.UNKNOWN]).update(
        status=Message.Status.FAILED, reason="person_erased"
    )
    return messages.update(text="", template=None, external_id="", details={}, shown={}, reactions=[])


def _erase_files(chats: QuerySet[Conversation]) -> int:
    attachments = Attachment.objects.filter(message__conversation__in=chats)
    uploads = Upload.objects.filter(conversation__in=chats)
    paths = {path for rows in (attachments, uploads) for path in rows.values_list("file", flat=True) if path}
    digests = {digest for rows in (attachments, uploads) for digest in rows.values_list("sha256", flat=True) if digest}
    ProviderUpload.objects.filter(sha256__in=digests).delete()
    count = attachments.delete()[0] + uploads.delete()[0]
    if paths:
        chat_id = chats.order_by("pk").values_list("pk", flat=True)[0]
        transaction.on_commit(lambda: _delete_from_disk(paths, chat_id=chat_id))
    return count


def _delete_from_disk(paths: Iterable[str], *, chat_id: int) -> None:
    for path in paths:
        with ERASED_FILES.isolate(path):
            try:
                default_storage.delete(path)
            except Exception:
                _schedule_for_pruning(path, chat_id=chat_id)
                raise


def _schedule_for_pruning(path: str, *, chat_id: int) -> None:
    """Keep the path of a file that could not be deleted as an expired upload, so that pruning tries again."""
    name, now = PurePosixPath(path).name, service_window.database_now()
    Upload.objects.create(conversation_id=chat_id, file=path, name=name, mime="", size=0, expires_at=now)


def _erase_held_replies(chats: QuerySet[Conversation]) -> int:
    held = HeldReply.objects.filter(conversation__in=chats)
    held.filter(state=HeldReply.State.HELD).update(
        state=HeldReply.State.DROPPED, finished_at=service_window.database_now()
    )
    return held.update(text="")


def _erase_raw_requests(contact: Contact, chats: QuerySet[Conversation]) -> int:
    """Empty stored requests that name the person."""
    encodings = sorted(
        {encoding for identifier in list_identifiers(contact) for encoding in _list_encodings(identifier)}
    )
    if not encodings:
        return 0
    condition = " OR ".join(["position(%s in body) > 0"] * len(encodings))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE bridge_webhookevent
                SET body = ''::bytea, headers = '{{}}', query_string = '', error = '', traceback = ''
                WHERE (api_channel_id = %s OR chat_channel_id = ANY(%s)) AND state <> 'new' AND ({condition})""",
            [contact.api_channel_id, list(chats.values_list("chat_channel_id", flat=True)), *encodings],
        )
        return int(cursor.rowcount)


def _erase_helpdesk_requests(chats: QuerySet[Conversation]) -> int:
    """Empty stored helpdesk requests: they name a chat by the helpdesk's IDs, and often not the person."""
    links = HelpdeskChat.objects.filter(conversation__in=chats)
    rows = links.values_list("chat_id", "client_id", "ticket_id")
    numbers = Ticket.objects.filter(conversation__in=chats).values_list("external_id", flat=True)
    encodings = sorted({str(number).encode() for row in [*rows, tuple(numbers)] for number in row if number})
    channels = list(links.values_list("chat_channel_id", flat=True))
    Ticket.objects.filter(conversation__in=chats).update(external_id=None)
    if not channels or not encodings:
        return 0
    condition = " OR ".join(["position(%s in body) > 0"] * len(encodings))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE bridge_webhookevent
                SET body = ''::bytea, headers = '{{}}', query_string = '', error = '', traceback = ''
                WHERE chat_channel_id = ANY(%s) AND state <> 'new' AND ({condition})""",
            [channels, *encodings],
        )
        return int(cursor.rowcount)


def _list_encodings(identifier: str) -> list[bytes]:
    """Return an identifier as it appears in JSON, in escaped JSON and in a form."""
    plain = [json.dumps(identifier, ensure_ascii=False), json.dumps(identifier)]
    if len(identifier) < MIN_UNQUOTED_LENGTH:
        return [spelling.encode() for spelling in plain]
    return [spelling[1:-1].encode() for spelling in plain] + [quote(identifier).encode()]


def _erase_idempotency_keys(chats: QuerySet[Conversation]) -> None:
    """Delete stored API responses about these chats."""
    for pk in chats.values_list("pk", flat=True):
        IdempotencyKey.objects.filter(owner__startswith=f"chat {pk}/").delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM bridge_idempotencykey WHERE jsonb_path_exists(answer, '$.**.chat_id ? (@ == $id)', %s)",
                [json.dumps({"id": pk})],
            )


def _erase_admin_log(contact: Contact, chats: QuerySet[Conversation]) -> None:
    """Remove the person from the admin log, which contains object names."""
    LogEntry.objects.filter(
        content_type__app_label="bridge", content_type__model="contact", object_id=contact.pk
    ).update(object_repr=f"№ {contact.pk}", change_message="")
    LogEntry.objects.filter(
        content_type__app_label="bridge",
        content_type__model="conversation",
        object_id__in=[str(pk) for pk in chats.values_list("pk", flat=True)],
    ).update(change_message="")
