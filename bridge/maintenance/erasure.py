"""Erasure of a person: all their data, in all tables and on disk; queued messages are not sent.

Rows that others depend on (requests in a report, statistics) stay, without personal data. Stored webhooks are processed
first, or they would restore the person; later redeliveries are recognized by their hash (`erased_ids`). The receipt
contains who, when and how much, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from bridge import service_window
from bridge.conversations import erased_ids, merge_lookup, tickets
from bridge.files import file_deletions
from bridge.inbox import processing
from bridge.models import (
    Attachment,
    Attempt,
    Contact,
    ContactChange,
    ContactConsent,
    ContactNote,
    Conversation,
    ConversationNote,
    Delivery,
    Draft,
    Erasure,
    FormerId,
    HeldReply,
    HelpdeskChat,
    LoggedErasure,
    Message,
    Mismatch,
    NoteMention,
    Notification,
    ProviderUpload,
    ServiceWindow,
    StrayStatus,
    Ticket,
    Upload,
    WebhookEvent,
)
from bridge.models.contacts import PERSONAL_FIELDS
from channels_setup.codecs.phone_numbers import UNVERIFIED
from channels_setup.failing_items import FailingItems

from . import erased_events, erased_imports, erased_traces, erased_views, erasure_log, outside_copies

logger = logging.getLogger(__name__)

FAILING = FailingItems("restored people")
SHORTEST_PHONE = 6  # digits by which the person's other contacts are found
WAITS = (0, 0.2, 0.5, 1)  # seconds, before each look for unprocessed raw requests
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
            keys = set()
            if len(digits) >= SHORTEST_PHONE:
                query |= Q(phone__in=[digits, f"+{digits}"])
                keys.add(one.phone_key)
            # The number at which WhatsApp reaches them: the phone on a card may be another one.
            if not one.address_key.startswith(UNVERIFIED):
                keys.add(one.address_key)
            keys.discard("")
            query |= Q(phone_key__in=keys) | Q(address_key__in=keys)
            query |= Q(pk=one.moved_to_id) if one.moved_to_id else Q()
        for one in Contact.objects.filter(query).exclude(pk__in=checked):
            found |= {each.pk: each for each in merge_lookup.list_people(merge_lookup.get_owner(one))}
    return [found[pk] for pk in sorted(found)]


def erase_person(contact_id: int, *, by: Any, source: str = Erasure.Source.BUTTON) -> list[Erasure]:
    """Erase a person wherever they are known, in one transaction. Return a receipt per contact. Can be repeated.

    Raises ErasureLogUnavailable; then nothing is erased.
    """
    _process_received_requests()
    contact = Contact.objects.get(pk=contact_id)
    return _erase_contacts([one.pk for one in find_same_person(contact)], by=by, source=source)


def _process_received_requests() -> None:
    """Process the raw requests received until now. Wait a little for those that another worker is processing."""
    received = WebhookEvent.objects.filter(state=WebhookEvent.State.NEW, received_at__lte=service_window.database_now())
    for seconds in WAITS:
        time.sleep(seconds)
        processing.process_inbox()
        if not received.exists():
            return
    logger.warning("erasing while raw requests are not processed")


def count_data(contact: Contact) -> dict[str, int]:
    """Return how much an erasure of this contact would erase, without changing anything."""
    chats = Conversation.objects.filter(contact=contact)
    return {
        "chats": chats.count(),
        "messages": Message.objects.filter(conversation__in=chats).count(),
        "files": Attachment.objects.filter(message__conversation__in=chats).count()
        + Upload.objects.filter(conversation__in=chats).count(),
        "notes": ContactNote.objects.filter(contact=contact).count()
        + ConversationNote.objects.filter(conversation__in=chats).count(),
        "requests received": erased_events.count_events(contact),
    }


def reapply_erasures(*, min_age: timedelta = timedelta(), by_number: bool = False) -> list[Erasure]:
    """Erase again the people whom a restored dump brought back (``erasure_log``). Return the receipts.

    ``min_age``: leave out younger entries, whose erasure may still be running. ``by_number``: find contacts by their
    number alone, because SECRET_KEY was lost.
    """
    latest = service_window.database_now() - min_age
    entries = [entry for entry in erasure_log.list_missing_entries() if entry.at <= latest]
    receipts: list[Erasure] = []
    if not entries:
        return receipts
    _process_received_requests()  # a restored dump may have some that were not processed yet
    for log_id, contact_ids in erasure_log.find_restored_contacts(entries, by_number=by_number).items():
        with FAILING.isolate(log_id):
            # Only these contacts: the person may have written again since.
            receipts += _erase_contacts(contact_ids, by=None, source=Erasure.Source.RESTORE)
            LoggedErasure.objects.bulk_create([LoggedErasure(log_id=log_id)], ignore_conflicts=True)
    return receipts


@transaction.atomic
def _erase_contacts(contact_ids: Sequence[int], *, by: Any, source: str) -> list[Erasure]:
    erased_imports.lock_imports()
    # Lock contacts before chats, as inbound messages do, to avoid a deadlock. The full lock waits for running inserts,
    # and lets the triggers of later ones wait for us.
    rows = Contact.objects.filter(pk__in=contact_ids)
    contacts = list(rows.select_for_update(of=("self",)).order_by("pk"))
    chats = Conversation.objects.filter(contact__in=contact_ids)
    list(chats.select_for_update(of=("self",)).order_by("pk").values_list("pk"))
    receipts = [_erase_contact(contact, by=by, source=source) for contact in contacts]
    new = [contact for contact in contacts if contact.erased_at is None]
    if new and source != Erasure.Source.RESTORE:  # those are in the log
        # Last, and all at once: a line without an erasure would be carried out later.
        ids = erasure_log.append_erasures(new)
        LoggedErasure.objects.bulk_create([LoggedErasure(log_id=log_id) for log_id in ids])
    return receipts


def _erase_contact(contact: Contact, *, by: Any, source: str) -> Erasure:
    """Erase one contact, which the caller has locked together with its chats."""
    chats = Conversation.objects.filter(contact=contact)
    chats.update(is_erased=False)  # a repeated erasure closes what was opened meanwhile
    outside = outside_copies.collect_outside_copies(contact, chats)
    identifiers, pattern = list_identifiers(contact), erased_events.build_contact_pattern(contact)
    counts = _erase_rows(contact, chats, pattern)
    erased_traces.erase_traces(contact, chats, identifiers, pattern)
    erased_views.erase_views(contact, pattern)
    erased_imports.erase_from_imports(contact, identifiers)
    if contact.erased_at is None:
        erased_ids.remember_erased_client(contact)
    Contact.objects.filter(pk=contact.pk).update(
        **dict.fromkeys(PERSONAL_FIELDS, ""),
        name_source=Contact.NameSource.PROFILE,
        number_issued=False,
        tags=[],
        card={},
        erased_at=contact.erased_at or service_window.database_now(),
    )
    FormerId.objects.filter(contact=contact).delete()
    _close_conversations(chats, by=by)
    chats.update(is_erased=True)
    logger.info("person erased", extra={"contact": contact.pk, "by": getattr(by, "pk", None)})
    return Erasure.objects.create(contact=contact, by=by, source=source, counts=counts, outside=outside)


def _erase_rows(contact: Contact, chats: QuerySet[Conversation], pattern: str) -> dict[str, int]:
    """Erase the person's data in rows, stored requests and files. Return the counts of the receipt."""
    deliveries = _erase_deliveries(chats)  # first: a running call can store no message ID after it
    ids = list(
        Message.objects.filter(conversation__in=chats).exclude(external_id="").values_list("external_id", flat=True)
    )
    erased_ids.remember_erased(contact.api_channel_id, ids)
    StrayStatus.objects.filter(api_channel=contact.api_channel_id, external_id__in=ids).delete()
    Mismatch.objects.filter(api_channel=contact.api_channel_id, external_id__in=ids).update(external_id="")
    return {
        "deliveries": deliveries,
        "requests received": erased_events.erase_events(contact, pattern)
        + erased_events.erase_failed_events(contact, chats)
        + _erase_helpdesk_requests(chats),
        "files": _erase_files(chats),
        "messages": _erase_messages(chats),
        "notes": ContactNote.objects.filter(contact=contact).delete()[0],
        "consents": ContactConsent.objects.filter(contact=contact).delete()[0],
        "changes": ContactChange.objects.filter(contact=contact).delete()[0],
        "chat notes": _erase_chat_notes(chats),
        "drafts": Draft.objects.filter(conversation__in=chats).delete()[0],
        "notifications": Notification.objects.filter(conversation__in=chats).delete()[0],
        "held replies": _erase_held_replies(chats),
    }


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
    deliveries.filter(state__in=[*Delivery.UNFINISHED, Delivery.State.DEAD, Delivery.State.UNKNOWN]).update(
        state=Delivery.State.CANCELLED,
        reason="person_erased",
        lease_token=None,
        finished_at=service_window.database_now(),
    )
    count = deliveries.update(payload={})
    # After the deliveries, whose update waits for transactions that store a result.
    Attempt.objects.filter(delivery__in=deliveries).exclude(answer="").update(answer="")
    return count


def _erase_messages(chats: QuerySet[Conversation]) -> int:
    messages = Message.objects.filter(conversation__in=chats)
    messages.filter(status__in=[Message.Status.PENDING, Message.Status.SENDING, Message.Status.UNKNOWN]).update(
        status=Message.Status.FAILED, reason="person_erased"
    )
    return messages.update(text="", template=None, external_id="", details={}, shown={}, reactions=[], form_key="")


def _erase_files(chats: QuerySet[Conversation]) -> int:
    attachments = Attachment.objects.filter(message__conversation__in=chats)
    uploads = Upload.objects.filter(conversation__in=chats)
    paths = {path for rows in (attachments, uploads) for path in rows.values_list("file", flat=True) if path}
    digests = {digest for rows in (attachments, uploads) for digest in rows.values_list("sha256", flat=True) if digest}
    ProviderUpload.objects.filter(sha256__in=digests).delete()
    count = attachments.delete()[0] + uploads.delete()[0]
    file_deletions.schedule_file_deletions(paths)
    return count


def _erase_chat_notes(chats: QuerySet[Conversation]) -> int:
    NoteMention.objects.filter(conversation__in=chats).delete()
    return ConversationNote.objects.filter(conversation__in=chats).delete()[0]


def _erase_held_replies(chats: QuerySet[Conversation]) -> int:
    held = HeldReply.objects.filter(conversation__in=chats)
    held.filter(state=HeldReply.State.HELD).update(
        state=HeldReply.State.DROPPED, finished_at=service_window.database_now()
    )
    return held.update(text="")


def _erase_helpdesk_requests(chats: QuerySet[Conversation]) -> int:
    """Empty stored helpdesk requests: they name a chat by the helpdesk's IDs, and often not the person."""
    links = HelpdeskChat.objects.filter(conversation__in=chats)
    rows = links.values_list("chat_id", "client_id", "ticket_id")
    numbers = Ticket.objects.filter(conversation__in=chats).values_list("external_id", flat=True)
    known = {number for row in [*rows, tuple(numbers)] for number in row if number}
    return erased_events.erase_helpdesk_events(list(links.values_list("chat_channel_id", flat=True)), known)
