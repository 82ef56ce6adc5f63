"""Undo of an import: delete the contacts that it created, unless anybody or another import has used them since.

What the import changed in contacts that were known before stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from bridge import service_window
from bridge.models import Contact, ContactChange, ContactImport, ContactNote, Conversation
from bridge.models.contact_imports import UNDO_WITHIN

BATCH = 200
DELETED, KEPT = "deleted", "kept"
# What the import set. Any change of it means that somebody works with the contact.
FIELDS = (
    *("phone", "name", "email", "tags", "card", "external_id", "username", "user_id", "caller_id", "number_issued"),
    *("consent__source", "consent__note", "consent__recorded_at", "consent__opt_out", "consent__opt_out_at"),
)


def compute_digests(contact_ids: Collection[int]) -> dict[str, str]:
    """Return a digest of each contact's data by its ID as text, with one query."""
    rows = Contact.objects.filter(pk__in=contact_ids).values_list("pk", *FIELDS)
    return {str(pk): hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:12] for pk, *values in rows}


def may_undo(row: ContactImport) -> bool:
    now = service_window.database_now()
    is_recent = row.finished_at is not None and now - row.finished_at < UNDO_WITHIN
    return row.state == ContactImport.State.DONE and bool(row.created) and is_recent


@transaction.atomic
def start_undo(import_id: int) -> bool:
    """Begin to undo a finished import. Return False if it cannot be undone, or another tab was faster."""
    row = ContactImport.objects.select_for_update(no_key=True).get(pk=import_id)
    if not may_undo(row):
        return False
    row.state = ContactImport.State.UNDOING
    row.counts = {**row.counts, DELETED: 0, KEPT: 0}
    row.save(update_fields=["state", "counts"])
    return True


@transaction.atomic
def undo_next_batch(import_id: int) -> ContactImport | None:
    """Delete the next untouched contacts. Return the import, or None if it does not exist."""
    row = (
        ContactImport.objects.select_for_update(of=("self",))
        .select_related("api_channel", "author")
        .filter(pk=import_id)
        .first()
    )
    if row is None or row.state != ContactImport.State.UNDOING:
        return row
    keys = sorted(row.created, key=int)[:BATCH]
    # The full lock keeps out messages of these clients: they wait, and then create a new contact.
    locked = Contact.objects.select_for_update(of=("self",)).filter(pk__in=[int(key) for key in keys])
    contact_ids = list(locked.order_by("pk").values_list("pk", flat=True))
    digests = compute_digests(contact_ids)
    untouched = _find_untouched(Contact.objects.filter(pk__in=contact_ids))
    listed = _find_listed(row, contact_ids)
    deleted = [pk for pk in untouched if pk not in listed and digests[str(pk)] == row.created[str(pk)]]
    Contact.objects.filter(pk__in=deleted).delete()
    row.created = {key: digest for key, digest in row.created.items() if key not in set(keys)}
    row.counts[DELETED] += len(deleted)
    row.counts[KEPT] += len(contact_ids) - len(deleted)
    if not row.created:
        row.state = ContactImport.State.UNDONE
    row.save(update_fields=["created", "counts", "state"])
    return row


FIND_CREATED_SQL = """
SELECT DISTINCT c.id::bigint FROM bridge_contactimport i CROSS JOIN LATERAL jsonb_object_keys(i.created) c(id)
WHERE i.id <> %s AND i.created ?| %s::text[] AND c.id = ANY(%s::text[])
"""
FIND_LISTED_SQL = """
SELECT DISTINCT c.id::bigint FROM bridge_contactimport i CROSS JOIN LATERAL jsonb_array_elements_text(i.listed) c(id)
WHERE i.id <> %s AND i.state NOT IN ('undoing', 'undone') AND c.id = ANY(%s::text[])
"""


def find_created_by_others(row: ContactImport, contact_ids: Collection[int]) -> set[int]:
    """Return those of the contacts that another import created and could delete."""
    texts = [str(pk) for pk in contact_ids]
    return _select_ids(FIND_CREATED_SQL, row.pk, texts, texts) if texts else set()


def _find_listed(row: ContactImport, contact_ids: Collection[int]) -> set[int]:
    """Return those of the contacts that rows of another import name."""
    return _select_ids(FIND_LISTED_SQL, row.pk, [str(pk) for pk in contact_ids])


def _select_ids(statement: str, *values: Any) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {pk for (pk,) in cursor.fetchall()}


def _find_untouched(rows: QuerySet[Contact]) -> list[int]:
    def none_of(model: Any, field: str = "contact") -> Any:
        return ~Exists(model._default_manager.filter(**{field: OuterRef("pk")}))

    found = rows.filter(
        *(none_of(model) for model in (Conversation, ContactNote, ContactChange)),
        none_of(Contact, "moved_to"),
        none_of(Contact, "merged_into"),
        erased_at=None,
        merged_into=None,
        has_merged=False,
        moved_to=None,
        merges_in=None,
        merges_away=None,
        former_ids=None,
        erasures=None,
    )
    return list(found.values_list("pk", flat=True))
