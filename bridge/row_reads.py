"""Model objects from rows of hand-written statements: several models in one row, and nothing compiled by Django."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connection, models

Model = TypeVar("Model", bound=models.Model)


class RowReader(Generic[Model]):
    """Columns of a model for a SELECT, and its objects from the values. ``alias``: the table's alias there."""

    def __init__(self, model: type[Model], alias: str) -> None:
        self.model = model
        self.fields = model._meta.concrete_fields
        self.names = [field.attname for field in self.fields]
        self.columns = ", ".join(f'{alias}."{field.column}"' for field in self.fields)
        self.width = len(self.fields)

    @cached_property
    def _converters(self) -> list[tuple[int, Callable[..., Any]]]:
        return [(at, each) for at, field in enumerate(self.fields) for each in field.get_db_converters(connection)]

    def read(self, values: Sequence[Any]) -> Model:
        """Return the object with these values of ``columns``."""
        converted = list(values)
        for at, convert in self._converters:
            converted[at] = convert(converted[at], None, connection)
        return self.model.from_db(connection.alias, self.names, converted)
