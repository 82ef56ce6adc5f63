"""Rows that hang on a conversation: moved to another conversation, and back by the ids that were written down.

Everything that has a foreign key to a conversation moves, tables of later versions too. What stands under a unique
constraint per conversation, or carries a merged contact, is moved by a rule of its own (``SPECIAL_MODELS``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from ..models import (
    Conversation,
    Draft,
    HelpdeskBurst,
    HelpdeskChat,
    HelpdeskReply,
    Message,
    ServiceWindow,
)

Model = type[models.Model]

SPECIAL_MODELS = (Message, ServiceWindow, Draft, HelpdeskChat, HelpdeskReply, HelpdeskBurst)
MERGED_CONTACT_MODELS: tuple[Model, ...] = (ServiceWindow, Message)  # carry the merged contact
RowIds = dict[str, list[int]]


def list_plain_tables() -> Iterator[tuple[Model, str]]:
    """Models with a foreign key to a conversation, and its name; those with a rule of their own left out."""
    for field in Conversation._meta.get_fields(include_hidden=True):
        if not field.auto_created or field.concrete or not (field.one_to_many or field.one_to_one):
            continue
        model: Model = field.related_model  # type: ignore[assignment]  # a relation has one
        if model not in SPECIAL_MODELS and not model._meta.proxy:
            yield model, field.field.name  # type: ignore[union-attr]  # as above


def move_rows(source: int, target: int, *, contact_id: int) -> RowIds:
    """Move all but drafts and the helpdesk's chat from one conversation to another; the ids of the unmarked ones."""
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
    HelpdeskBurst.objects.filter(conversation=source).delete()  # counts equal events of two seconds
    return moved


def _move_replies(source: int, target: int) -> list[int]:
    """Replies are known by their content or comment: one that the other conversation knows, too, is not moved."""
    known = HelpdeskReply.objects.filter(conversation=target)
    rows = (
        HelpdeskReply.objects.filter(conversation=source)
        .exclude(~Q(content=""), content__in=known.exclude(content="").values("content"))
        .exclude(~Q(comment_id=""), comment_id__in=known.exclude(comment_id="").values("comment_id"))
    )
    ids = list(rows.values_list("pk", flat=True))
    HelpdeskReply.objects.filter(pk__in=ids).update(conversation=target)
    return ids


def move_rows_back(source: int, target: int, moved: RowIds, *, contact_ids: list[int]) -> None:
    """Move from ``source`` to ``target`` what was moved from there, and what these contacts wrote or got since."""
    for model in MERGED_CONTACT_MODELS:
        rows: Any = model._default_manager.filter(conversation=source, merged_contact__in=contact_ids)
        rows.update(conversation=target)
        mine: Any = model._default_manager.filter(conversation=target, merged_contact=contact_ids[0])
        mine.update(merged_contact=None)
    tables: list[tuple[Model, str]] = [*list_plain_tables(), (HelpdeskReply, "conversation")]
    for model, name in tables:
        meant = Q(pk__in=moved.get(_table_key(model, name), []))
        for field in model._meta.concrete_fields:
            if field.related_model is Message:
                meant |= Q(**{f"{field.name}__conversation": target})
        table: Any = model._default_manager.filter(meant, **{name: source})
        table.update(**{name: target})


def copy_form_keys(source: int, target: int) -> None:
    """A form that was posted in one conversation and is posted again in the other is still a repeat."""
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
    """A row's columns, to be stored."""
    found = {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


def json_to_row(model: Model, stored: dict[str, Any]) -> dict[str, Any]:
    """The columns as the model has them now; one that is gone since is left out."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    return {name: fields[name].to_python(value) for name, value in stored.items() if name in fields}


def restore_row(model: Model, stored: dict[str, Any]) -> Any:
    """Put a stored row back under its old number, times included."""
    values = json_to_row(model, stored)
    made: Any = model(**values)
    made.save(force_insert=True)
    model._default_manager.filter(pk=made.pk).update(**{name: values[name] for name in values if name != "id"})
    return made


def _table_key(model: Model, name: str) -> str:
    return f"{model._meta.label_lower}.{name}"
