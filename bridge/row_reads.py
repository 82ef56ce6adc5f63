"""Model objects from rows of hand-written statements: several models in one row, and nothing compiled by Django."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState

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
    def _converters(self) -> list[tuple[str, Callable[..., Any]]]:
        return [(field.attname, each) for field in self.fields for each in field.get_db_converters(connection)]

    def read(self, values: Sequence[Any]) -> Model:
        """Return the object with these values of ``columns``.

        Fills the object as unpickling does, without ``__init__``: its loop over the fields costs more than the rest of
        storing a message. Models of the message flow have no receivers of ``post_init``.
        """
        row = self.model.__new__(self.model)
        attributes = row.__dict__
        attributes.update(zip(self.names, values, strict=True))
        for name, convert in self._converters:
            attributes[name] = convert(attributes[name], None, connection)
        row._state = ModelState()
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
        return row
