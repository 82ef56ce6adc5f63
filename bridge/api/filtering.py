"""Lists of ``/api/v1/``: filters with their names and kinds, and paging by key."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.filters import BaseFilterBackend
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import MAX_ID, parse_id, parse_unix_time

UNIX_SECONDS = re.compile(r"[0-9]{9,12}(\.[0-9]{1,9})?")  # since 1970

# --- filters ---------------------------------------------------------------------------------------------


class InvalidValue(ValueError):
    """A query parameter that cannot be read. Its text is a sentence."""


def parse_number(text: str) -> int:
    try:
        value = parse_id(text)
    except BadBody:
        value = None
    if not value:  # no row has the number 0
        raise InvalidValue(_("must be a whole number."))
    return value


def parse_text(value: str) -> str:
    if "\0" in value or len(value) > 200:
        raise InvalidValue(_("must be text of at most 200 characters."))
    return value


def parse_moment(value: str) -> datetime:
    """ISO 8601 (without an offset: the portal's time zone) or Unix seconds."""
    plain = value.strip()
    found = None
    if UNIX_SECONDS.fullmatch(plain):
        with suppress(BadBody):
            found = parse_unix_time(plain)
    else:
        # A plus sign that was not escaped in the address arrives as a space.
        text = plain if "T" not in plain else plain.replace(" ", "+")
        found = values.parse_iso_time(text, zone=timezone.get_current_timezone())
    if found is None:
        raise InvalidValue(_("must be a time such as 2026-01-31T12:00:00+03:00."))
    return found


def parse_choices(*choices: str) -> Callable[[str], list[str]]:
    """One of the choices, or several by commas."""

    def read(value: str) -> list[str]:
        wanted = [word.strip() for word in value.split(",")]
        if not set(wanted) <= set(choices):
            raise InvalidValue(_("must be one of: %(choices)s.") % {"choices": ", ".join(choices)})
        return wanted

    read.choices = choices  # type: ignore[attr-defined]  # for the schema
    return read


@dataclass(frozen=True, kw_only=True)
class QueryFilter:
    """A query parameter of a list: how it is read, and what it filters by: a look-up, or a function of its own."""

    read: Callable[[str], Any]
    by: str | Callable[[QuerySet[Any], Any], QuerySet[Any]]
    help: str = ""

    def apply(self, rows: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return rows.filter(**{self.by: value}) if isinstance(self.by, str) else self.by(rows, value)

    def described(self, name: str) -> dict[str, Any]:
        """The parameter for the OpenAPI schema."""
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if self.read is parse_number:
            schema = {"type": "integer"}
        elif self.read is parse_moment:
            schema = {"type": "string", "format": "date-time"}
        elif choices := getattr(self.read, "choices", None):
            schema = {"type": "array", "items": {"type": "string", "enum": list(choices)}}
        described = {"name": name, "in": "query", "required": False, "description": self.help, "schema": schema}
        return described | ({"style": "form", "explode": False} if schema["type"] == "array" else {})


SINCE = QueryFilter(read=parse_moment, by="created_at__gte", help="Stored at this time or later.")
UNTIL = QueryFilter(read=parse_moment, by="created_at__lt", help="Stored before this time.")


class QueryFilterBackend(BaseFilterBackend):
    """The ``filters`` of a view, by their names. What is not known is ignored; what cannot be read, or is empty, is
    a 400."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        for name, filter_ in view.filters.items():
            value = request.query_params.get(name)
            if value is not None:
                queryset = filter_.apply(queryset, self._read(name, filter_, value))
        return queryset

    def _read(self, name: str, filter_: QueryFilter, value: str) -> Any:
        if not value:
            raise exceptions.ValidationError({name: [_("must not be empty.")]})
        try:
            return filter_.read(value)
        except InvalidValue as problem:
            raise exceptions.ValidationError({name: [str(problem)]}) from None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [filter_.described(name) for name, filter_ in view.filters.items()]


# --- paging ----------------------------------------------------------------------------------------------


class KeysetPagination(CursorPagination):
    """Newest first, by key: page one thousand costs what page one does, and nothing slips between two pages."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    page_size_query_description = "Rows a page, at most 200."
    ordering = "-id"
    orderings = ("-id", "id")
    count: int | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        if request.query_params.get("count") in ("1", "true"):
            self.count = queryset.count()
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        if not (given.isascii() and given.isdigit()) or not 1 <= int(given[:9]) <= self.max_page_size:
            raise exceptions.ValidationError({self.page_size_query_param: [_("must be a number from 1 to 200.")]})
        return int(given)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        given = request.query_params.get("ordering", self.ordering)
        if given not in self.orderings:
            raise exceptions.ValidationError({"ordering": [_("must be one of: %(choices)s.") % {"choices": "id, -id"}]})
        return (given,)

    def decode_cursor(self, request: Request) -> Any:
        """A cursor is what our own ``next`` held; whatever else somebody writes there is no server error."""
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            position = parse_qs(b64decode(encoded.encode("ascii")).decode("ascii")).get("p", ["0"])[0]
            if not (position.isascii() and position.isdigit()) or int(position[:20]) > MAX_ID:
                raise ValueError
            return super().decode_cursor(request)
        except (ValueError, exceptions.NotFound):
            raise exceptions.ValidationError({"cursor": [_("must be taken from “next” as it is.")]}) from None

    def get_paginated_response(self, data: Any) -> Response:
        body = {"next": self.get_next_link(), "results": data}
        return Response(body if self.count is None else {"count": self.count} | body)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "count": {"type": "integer", "description": "Only where asked for by count=1."},
                "next": {"type": "string", "nullable": True, "format": "uri"},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        described = {
            "cursor": ({"type": "string"}, "Where the page begins: taken from “next” as it is."),
            "page_size": ({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Rows a page."),
            "ordering": ({"type": "string", "enum": list(self.orderings), "default": self.ordering}, "The order."),
            "count": ({"type": "integer", "enum": [1]}, "Count the rows as well; costs time."),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": help_, "schema": schema}
            for name, (schema, help_) in described.items()
        ]
