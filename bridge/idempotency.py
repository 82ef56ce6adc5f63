"""Idempotency-Key support: a repeated request gets the stored response and changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from .models import IdempotencyKey

LONGEST_KEY = 200
ERASED_PREFIX = "erased "


@dataclass(frozen=True)
class StoredResponse:
    """A response for repeats. ``contact_ids``: the contacts that the call was about, for their erasure."""

    status: int
    body: Any
    contact_ids: tuple[int, ...] = ()


class InvalidIdempotencyKey(Exception):
    """The key is not valid. The text is a sentence for the caller."""


class IdempotencyKeyReused(Exception):
    """The key was used for another request. The text is a sentence for the caller."""


def _should_store(answer: StoredResponse) -> bool:
    return answer.status < 500


def run_once(
    *,
    owner: str,
    key: str,
    request: bytes,
    work: Callable[[], StoredResponse],
    should_store: Callable[[StoredResponse], bool] = _should_store,
) -> StoredResponse:
    """Run ``work`` in a transaction and store its response under (owner, key), or return the stored response.

    A concurrent call with the same key waits on the unique index. A response for which ``should_store`` returns False
    (by default 5xx) leaves the key unused. Raises InvalidIdempotencyKey and IdempotencyKeyReused.
    """
    if not key:
        with transaction.atomic():
            return work()
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidIdempotencyKey(_("The Idempotency-Key must be printable text of at most 200 characters."))
    fingerprint = hashlib.sha256(request).digest()
    with transaction.atomic():
        if not _reserve(owner, key, fingerprint):
            kept = IdempotencyKey.objects.get(owner=owner, key__in=[key, hash_key(key)])
            if bytes(kept.fingerprint) != fingerprint:
                raise IdempotencyKeyReused(_("This Idempotency-Key was used for another request."))
            return StoredResponse(status=kept.status or 200, body=kept.answer)
        answer = work()
        if should_store(answer):
            IdempotencyKey.objects.filter(owner=owner, key=key).update(
                status=answer.status, answer=answer.body, contact_ids=list(answer.contact_ids) or None
            )
        else:
            IdempotencyKey.objects.filter(owner=owner, key=key).delete()
        return answer


def _reserve(owner: str, key: str, fingerprint: bytes) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO bridge_idempotencykey (owner, key, fingerprint, created_at)
               SELECT %s, %s, %s, now()
               WHERE NOT EXISTS (SELECT FROM bridge_idempotencykey WHERE owner = %s AND key = %s)
               ON CONFLICT DO NOTHING""",
            [owner, key, fingerprint, owner, hash_key(key)],
        )
        return bool(cursor.rowcount)


def hash_key(key: str) -> str:
    """Return the form in which the key of a call about an erased person is kept: a key may contain a phone number."""
    return f"{ERASED_PREFIX}{hashlib.sha256(key.encode()).hexdigest()}"
