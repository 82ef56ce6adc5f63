"""Querysets whose SQL Django compiles once per process, for pages that are opened all the time.

Django takes longer to build the SQL of such a query than PostgreSQL to answer it. The rows become the same objects as
those of the queryset: it uses Django's compiler as ``ModelIterable`` does, and tests compare both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

from .prepared_statements import execute_read

Row = TypeVar("Row", bound=Model)
MAX_ID = 2**63 - 1
FIRST_MARK = 1_987_600_000  # placeholders of the arguments while the SQL is compiled


@dataclass(frozen=True, kw_only=True)
class CompiledQuery:
    """SQL of a queryset, and how its rows become objects."""

    sql: str
    values: Sequence[Any]
    places: Sequence[tuple[int, int, type]]  # index in ``values``, number of the argument, and type of the value
    model: type[Model]
    names: Sequence[str]  # of the model's columns in a row
    first: int
    populators: Sequence[Any]  # of the related objects
    converters: Sequence[tuple[int, Sequence[Callable[[Any, Any, Any], Any]], Any]]
    annotations: Sequence[tuple[str, int]]


class PreparedQuery(Generic[Row]):
    """A queryset with integers as its arguments: ``build`` returns it, and a call returns its rows.

    ``build`` may have ``*ids`` for a list. Its SQL is compiled for each length, so such a list must be short: the
    channels of a user, and not rows of a table that grows.
    """

    def __init__(self, build: Callable[..., QuerySet[Row]]) -> None:
        self.build = build
        self.compiled: dict[int, CompiledQuery] = {}  # by number of arguments

    def __call__(self, *arguments: int) -> list[Row]:
        if any(abs(argument) > MAX_ID for argument in arguments):
            return []
        query = self.compiled.get(len(arguments))
        if query is None:
            query = self.compiled[len(arguments)] = _compile(self.build, len(arguments))
        values = list(query.values)
        for index, number, kind in query.places:
            values[index] = kind(arguments[number])
        with connection.cursor() as cursor:
            execute_read(cursor, query.sql, values)
            rows = cursor.fetchall()
        return [_build_object(query, list(row)) for row in rows]

    def first(self, *arguments: int) -> Row | None:
        return next(iter(self(*arguments)), None)


def _compile(build: Callable[..., QuerySet[Any]], arguments: int) -> CompiledQuery:
    marks = [FIRST_MARK + number for number in range(arguments)]
    compiler = build(*marks).query.get_compiler(connection=connection)
    sql, values = compiler.as_sql()
    places = [(index, marks.index(value), type(value)) for index, value in enumerate(values) if value in marks]
    assert {number for _index, number, _kind in places} == set(range(len(marks))), sql
    select, found = compiler.select, compiler.klass_info
    assert select is not None and found is not None
    first, last = found["select_fields"][0], found["select_fields"][-1]
    converters = compiler.get_converters([expression for expression, _sql, _alias in select])
    return CompiledQuery(
        sql=sql,
        values=values,
        places=places,
        model=found["model"],
        names=[expression.target.attname for expression, _sql, _alias in select[first : last + 1]],
        first=first,
        populators=get_related_populators(found, select, connection.alias),  # type: ignore[call-arg]  # newer stubs
        converters=[(index, functions, expression) for index, (functions, expression) in converters.items()],
        annotations=list((compiler.annotation_col_map or {}).items()),
    )


def _build_object(query: CompiledQuery, row: list[Any]) -> Any:
    for index, functions, expression in query.converters:
        for function in functions:
            row[index] = function(row[index], expression, connection)
    built = query.model.from_db(connection.alias, query.names, row[query.first : query.first + len(query.names)])
    for populator in query.populators:
        populator.populate(row, built)
    for name, index in query.annotations:
        setattr(built, name, row[index])
    return built
