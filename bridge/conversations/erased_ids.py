"""Fingerprints of erased messages, so that a late webhook does not restore an erased person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from django.db import connection

from bridge.models import ErasedMessage
from channels_setup.models import ApiChannel
from channels_setup.providers.base import Fact


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


def drop_erased(api_channel: ApiChannel, facts: Sequence[Fact]) -> Sequence[Fact]:
    """Return the facts without those about erased messages."""
    ids_by_fingerprint = {
        fingerprint_erased(external_id): external_id
        for fact in facts
        for name in ("external_id", "target_id")
        if (external_id := getattr(fact, name, ""))
    }
    if not ids_by_fingerprint:
        return facts
    with connection.cursor() as cursor:  # plain SQL, as in ``service_window``: runs for every batch
        cursor.execute(
            "SELECT fingerprint FROM bridge_erasedmessage WHERE api_channel_id = %s AND fingerprint = ANY(%s)",
            [api_channel.pk, list(ids_by_fingerprint)],
        )
        erased = {ids_by_fingerprint[bytes(row[0])] for row in cursor.fetchall()}
    if not erased:
        return facts
    return [fact for fact in facts if not {getattr(fact, "external_id", ""), getattr(fact, "target_id", "")} & erased]
