"""Insert or update many rows of a model by one statement with arrays: PostgreSQL plans a short text."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState
from django.db.models.expressions import DatabaseDefault

from channels_setup import prepared_statements

Row = TypeVar("Row", bound=models.Model)
PLAIN_FIELDS = (models.ForeignKey, models.IntegerField, models.BooleanField, models.UUIDField, models.BinaryField)


class Column(NamedTuple):
    """A column of the statement. ``read`` returns the value of a row as psycopg2 takes it."""

    name: str
    sql_type: str
    read: Callable[[Any], Any]


def insert_rows(rows: Sequence[Row]) -> list[Row]:
    """Insert new rows of one model, set their IDs, and return them. Works as ``bulk_create``, without its options.

    A column whose value all rows leave to the database is left out. Rows that differ in that are refused.
    """
    if not rows:
        return []
    model = type(rows[0])
    read = [(column, [column.read(row) for row in rows]) for column in list_columns(model)]
    columns = [(column, values) for column, values in read if not _is_left_to_database(column, values)]
    names = ", ".join(f'"{column.name}"' for column, _values in columns)
    arrays = ", ".join(f"%s::{column.sql_type}[]" for column, _values in columns)
    with connection.cursor() as cursor:
        prepared_statements.execute(
            cursor,
            f'INSERT INTO "{model._meta.db_table}" ({names}) SELECT * FROM unnest({arrays}) RETURNING id',
            [values for _column, values in columns],
        )
        for row, (pk,) in zip(rows, cursor.fetchall(), strict=True):
            row.pk = pk
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
    return list(rows)


def update_rows(rows: Sequence[Row], fields: Collection[str]) -> None:
    """Save these fields of stored rows of one model, which the caller has locked. Works as ``bulk_update``."""
    if not rows:
        return
    model = type(rows[0])
    names = {field.column for field in model._meta.concrete_fields if field.name in fields}
    columns = [column for column in list_columns(model) if column.name in names]
    changes = ", ".join(f'"{column.name}" = v."{column.name}"' for column in columns)
    arrays = ", ".join(["%s::bigint[]", *(f"%s::{column.sql_type}[]" for column in columns)])
    aliases = ", ".join(["id", *(f'"{column.name}"' for column in columns)])
    with connection.cursor() as cursor:
        prepared_statements.execute(
            cursor,
            f'UPDATE "{model._meta.db_table}" r SET {changes} FROM unnest({arrays}) AS v({aliases}) WHERE r.id = v.id',
            [[row.pk for row in rows], *([column.read(row) for row in rows] for column in columns)],
        )


def build_row(model: type[Row], **values: Any) -> Row:
    """Return an unsaved row as ``model(**values)`` does, several times faster: see ``row_reads``."""
    row = model.__new__(model)
    row._state = ModelState()
    attributes, related = row.__dict__, row._state.fields_cache
    constants, computed = _read_defaults(model)
    attributes.update(constants)
    for name, default in computed:
        attributes[name] = default()
    for name, value in values.items():
        if name in attributes:
            attributes[name] = value
        elif f"{name}_id" in attributes:
            attributes[f"{name}_id"], related[name] = value and value.pk, value
        else:
            raise TypeError(f"{model.__name__} has no field {name}")
    return row


@lru_cache
def _read_defaults(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """Return the defaults that are the same for each row, and those that are computed for each."""
    constants: dict[str, Any] = {}
    computed: list[tuple[str, Callable[[], Any]]] = []
    for field in model._meta.concrete_fields:
        if field.has_default() and callable(field.default):
            computed.append((field.attname, field.default))
        else:
            constants[field.attname] = field.get_default()
    return constants, computed


@lru_cache
def list_columns(model: type[models.Model]) -> tuple[Column, ...]:
    """Return the columns of a model but its ID."""
    return tuple(_build_column(field) for field in model._meta.concrete_fields if not field.primary_key)


def _build_column(field: models.Field[Any, Any]) -> Column:
    # A cast to varchar(10) would cut a longer text; as text it is refused.
    sql_type = "text" if isinstance(field, models.CharField) else str(field.db_type(connection))
    name, attribute = str(field.column), field.attname

    # `__dict__`, because the descriptors of foreign keys are slow.
    def read_plain(row: Any) -> Any:
        return row.__dict__[attribute]

    def read_text(row: Any) -> str | None:
        value = row.__dict__[attribute]
        return None if value is None else str(value)  # a choice becomes its value

    is_stamped = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)

    def read_time(row: Any) -> Any:
        value = field.pre_save(row, True) if is_stamped else getattr(row, attribute)
        is_ready = value is None or (isinstance(value, datetime) and value.tzinfo is not None)
        return value if is_ready else read_any(row)

    def read_json(row: Any) -> str | None:
        value = field.get_prep_value(getattr(row, attribute))
        if not value and isinstance(value, dict | list):
            return "{}" if isinstance(value, dict) else "[]"
        return None if value is None and field.null else json.dumps(value)

    def read_any(row: Any) -> Any:
        return field.get_db_prep_save(field.pre_save(row, True), connection)

    if isinstance(field, models.JSONField):
        return Column(name, sql_type, read_json)
    if isinstance(field, models.DateTimeField):
        return Column(name, sql_type, read_time)
    may_be_left_to_database = field.has_db_default() and not field.has_default()
    if type(field) in (models.CharField, models.TextField) and not may_be_left_to_database:
        return Column(name, sql_type, read_text)
    return Column(name, sql_type, read_plain if isinstance(field, PLAIN_FIELDS) else read_any)


def _is_left_to_database(column: Column, values: Sequence[Any]) -> bool:
    if not isinstance(values[0], DatabaseDefault):
        return False
    if all(isinstance(value, DatabaseDefault) for value in values):
        return True
    raise ValueError(f"Some of the rows leave {column.name} to the database, others do not.")
