"""Fingerprints of what was erased, so that late webhooks and calls do not restore an erased person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from django.db import connection
from django.utils.crypto import salted_hmac

from bridge.models import Contact, ErasedHelpdeskNumber, ErasedMessage
from channels_setup.models import ApiChannel
from channels_setup.providers.base import Fact, ReactionChanged


def fingerprint_erased(external_id: str) -> bytes:
    """Return a hash of the ID. WhatsApp message IDs contain the phone number, so the ID itself is not kept."""
    return hashlib.sha256(f"okno.erased {external_id}".encode()).digest()


def remember_erased(api_channel_id: int, external_ids: Iterable[str]) -> None:
    """Store the fingerprints of erased messages."""
    rows = [
        ErasedMessage(api_channel_id=api_channel_id, fingerprint=fingerprint_erased(external_id))
        for external_id in external_ids
    ]
    ErasedMessage.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1_000)


def remember_expired(api_channel_id: int, external_ids: Sequence[str]) -> None:
    """Store the fingerprints of messages whose words retention deleted. Their senders are still known."""
    remember_erased(api_channel_id, external_ids)
    remember_erased(api_channel_id, map(_mark_expired, external_ids))


def _mark_expired(external_id: str) -> str:
    return f"expired {external_id}"


def drop_erased(api_channel: ApiChannel, facts: Sequence[Fact]) -> Sequence[Fact]:
    """Return the facts without those about erased messages. A reaction to an expired one stays: it opens the window."""
    ids_by_fingerprint = {
        fingerprint_erased(external_id): external_id
        for fact in facts
        for name in ("external_id", "target_id")
        if (external_id := getattr(fact, name, ""))
    }
    erased = _find_erased(api_channel, ids_by_fingerprint)
    if not erased:
        return facts
    targets = {fact.target_id for fact in facts if isinstance(fact, ReactionChanged)} & erased
    expired = _find_erased(api_channel, {fingerprint_erased(_mark_expired(target)): target for target in targets})
    return [
        fact
        for fact in facts
        if (isinstance(fact, ReactionChanged) and fact.target_id in expired and fact.external_id not in erased)
        or not {getattr(fact, "external_id", ""), getattr(fact, "target_id", "")} & erased
    ]


def _find_erased(api_channel: ApiChannel, ids_by_fingerprint: Mapping[bytes, str]) -> set[str]:
    """Return the IDs whose fingerprints are stored."""
    if not ids_by_fingerprint:
        return set()
    with connection.cursor() as cursor:  # plain SQL, as in ``service_window``: runs for every batch
        cursor.execute(
            "SELECT fingerprint FROM bridge_erasedmessage WHERE api_channel_id = %s AND fingerprint = ANY(%s)",
            [api_channel.pk, list(ids_by_fingerprint)],
        )
        return {ids_by_fingerprint[bytes(row[0])] for row in cursor.fetchall()}


# --- numbers in an external helpdesk --------------------------------------------------------------------------


def _fingerprint_number(chat_channel_id: int, kind: str, number: int) -> bytes:
    return hashlib.sha256(f"okno.erased {chat_channel_id} {kind} {number}".encode()).digest()


def remember_erased_numbers(chat_channel_id: int, numbers: Iterable[tuple[str, int]]) -> None:
    """Store fingerprints of the person's chats, clients and requests in an external helpdesk."""
    rows = [
        ErasedHelpdeskNumber(
            chat_channel_id=chat_channel_id, fingerprint=_fingerprint_number(chat_channel_id, kind, number)
        )
        for kind, number in numbers
    ]
    ErasedHelpdeskNumber.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1_000)


def has_erased_number(chat_channel_id: int, numbers: Mapping[str, int | None]) -> bool:
    """Return whether a helpdesk event names an erased person. ``numbers``: kind (chat, client, ticket) → number."""
    fingerprints = [_fingerprint_number(chat_channel_id, kind, number) for kind, number in numbers.items() if number]
    rows = ErasedHelpdeskNumber.objects.filter(chat_channel=chat_channel_id, fingerprint__in=fingerprints)
    return bool(fingerprints) and rows.exists()


# --- our own number of a client, together with a phone ---------------------------------------------------------


def fingerprint_client(contact_id: int, key: str) -> bytes:
    """Return a keyed hash of a client's number and phone key: phone numbers could be found from a plain one."""
    return salted_hmac("okno.erased client", f"{contact_id} {key}", algorithm="sha256").digest()


def remember_erased_client(contact: Contact) -> None:
    """Store fingerprints by which a call that names an erased client by our number is recognized."""
    keys = {"", contact.phone_key, contact.address_key} if contact.number_issued else set()
    rows = [
        ErasedMessage(api_channel_id=contact.api_channel_id, fingerprint=fingerprint_client(contact.pk, key))
        for key in keys
    ]
    ErasedMessage.objects.bulk_create(rows, ignore_conflicts=True)


def is_erased_client(contact: Contact, key: str) -> bool:
    """Return whether a call with our number of an erased contact, and this phone key or none, means that contact."""
    rows = ErasedMessage.objects.filter(api_channel=contact.api_channel_id)
    return rows.filter(fingerprint=fingerprint_client(contact.pk, key)).exists()
