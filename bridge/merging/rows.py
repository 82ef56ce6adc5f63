"""Move the rows of a conversation to another conversation, and back by recorded IDs.

All models with a foreign key to Conversation are found automatically. Models with a unique constraint per conversation
or a merged contact have their own rules (SPECIAL_MODELS).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from ..models import (
    ChatPin,
    Conversation,
    Draft,
    HelpdeskChat,
    HelpdeskDuplicateWindow,
    HelpdeskReply,
    Message,
    ServiceWindow,
    Snooze,
)

Model = type[models.Model]

SPECIAL_MODELS = (
    *(Message, ServiceWindow, Draft, HelpdeskChat, HelpdeskReply, HelpdeskDuplicateWindow, Snooze),
    ChatPin,
)
MERGED_CONTACT_MODELS: tuple[Model, ...] = (ServiceWindow, Message)  # have a merged_contact column
RowIds = dict[str, list[int]]


def list_plain_tables() -> Iterator[tuple[Model, str]]:
    """Yield models with a foreign key to Conversation and the key's name, without SPECIAL_MODELS."""
    for field in Conversation._meta.get_fields(include_hidden=True):
        if not field.auto_created or field.concrete or not (field.one_to_many or field.one_to_one):
            continue
        model: Model = field.related_model  # type: ignore[assignment]  # a relation has one
        if model not in SPECIAL_MODELS and not model._meta.proxy:
            yield model, field.field.name  # type: ignore[union-attr]  # as above


def move_rows(source: int, target: int, *, contact_id: int) -> RowIds:
    """Move rows to another conversation, except drafts and the helpdesk chat. Return the moved IDs by table.

    Rows of MERGED_CONTACT_MODELS are not listed: their ``merged_contact`` identifies them.
    """
    for model in MERGED_CONTACT_MODELS:
        rows: Any = model._default_manager.filter(conversation=source)
        rows.update(conversation=target, merged_contact=Coalesce(F("merged_contact"), Value(contact_id)))
    moved: RowIds = {}
    for model, name in list_plain_tables():
        table: Any = model._default_manager.filter(**{name: source})
        if ids := list(table.values_list("pk", flat=True)):
            moved[_table_key(model, name)] = ids
            table.update(**{name: target})
    moved[_table_key(HelpdeskReply, "conversation")] = _move_replies(source, target)
    HelpdeskDuplicateWindow.objects.filter(conversation=source).delete()  # counts duplicates of the last seconds only
    return moved


def _move_replies(source: int, target: int) -> list[int]:
    """Move helpdesk replies. A reply that the target has too (same hash or comment ID) is not moved."""
    known = HelpdeskReply.objects.filter(conversation=target)
    rows = (
        HelpdeskReply.objects.filter(conversation=source)
        .exclude(~Q(event_hash=""), event_hash__in=known.exclude(event_hash="").values("event_hash"))
        .exclude(~Q(comment_id=""), comment_id__in=known.exclude(comment_id="").values("comment_id"))
    )
    ids = list(rows.values_list("pk", flat=True))
    HelpdeskReply.objects.filter(pk__in=ids).update(conversation=target)
    return ids


def move_rows_back(source: int, target: int, moved: RowIds, *, contact_ids: list[int]) -> None:
    """Move back the recorded rows, and the messages of these contacts since then with their related rows."""
    for model in MERGED_CONTACT_MODELS:
        rows: Any = model._default_manager.filter(conversation=source, merged_contact__in=contact_ids)
        rows.update(conversation=target)
        mine: Any = model._default_manager.filter(conversation=target, merged_contact=contact_ids[0])
        mine.update(merged_contact=None)
    tables: list[tuple[Model, str]] = [*list_plain_tables(), (HelpdeskReply, "conversation")]
    for model, name in tables:
        selected = Q(pk__in=moved.get(_table_key(model, name), []))
        for field in model._meta.concrete_fields:
            if field.related_model is Message:
                selected |= Q(**{f"{field.name}__conversation": target})
        table: Any = model._default_manager.filter(selected, **{name: source})
        table.update(**{name: target})


def copy_form_keys(source: int, target: int) -> None:
    """Copy idempotency keys, so that a form posted to both conversations counts as a repeat."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bridge_idempotencykey (owner, key, fingerprint, status, answer, created_at)
            SELECT %s || substring(owner FROM %s), key, fingerprint, status, answer, created_at
            FROM bridge_idempotencykey WHERE starts_with(owner, %s) ON CONFLICT DO NOTHING
            """,
            [f"chat {target}/", len(f"chat {source}/") + 1, f"chat {source}/"],
        )


def row_to_json(row: models.Model) -> dict[str, Any]:
    """Return a row's columns as JSON values."""
    found = {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


def json_to_row(model: Model, stored: dict[str, Any]) -> dict[str, Any]:
    """Return column values for the model. Columns that no longer exist are skipped."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    return {name: fields[name].to_python(value) for name, value in stored.items() if name in fields}


def restore_row(model: Model, stored: dict[str, Any]) -> Any:
    """Insert a stored row with its old ID and times."""
    values = json_to_row(model, stored)
    made: Any = model(**values)
    made.save(force_insert=True)
    model._default_manager.filter(pk=made.pk).update(**{name: values[name] for name in values if name != "id"})
    return made


def _table_key(model: Model, name: str) -> str:
    return f"{model._meta.label_lower}.{name}"
