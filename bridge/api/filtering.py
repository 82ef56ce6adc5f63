"""Query filters and keyset pagination of the lists in ``/api/v1/``."""

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
from channels_setup.models import ChatChannel

UNIX_SECONDS = re.compile(r"[0-9]{9,12}(\.[0-9]{1,9})?")  # since 1970

# --- filters ---------------------------------------------------------------------------------------------


class InvalidValue(ValueError):
    """Invalid query parameter. The message completes a sentence that begins with the parameter's name."""


def parse_number(text: str) -> int:
    try:
        value = parse_id(text)
    except BadBody:
        value = None
    if not value:  # IDs begin at 1
        raise InvalidValue(_("must be a whole number."))
    return value


def parse_text(value: str) -> str:
    if "\0" in value or len(value) > 200:
        raise InvalidValue(_("must be text of at most 200 characters."))
    return value


def parse_moment(value: str) -> datetime:
    """Parse ISO 8601 (without an offset: in the portal's time zone) or Unix seconds. Raises InvalidValue."""
    plain = value.strip()
    found = None
    if UNIX_SECONDS.fullmatch(plain):
        with suppress(BadBody):
            found = parse_unix_time(plain)
    else:
        # A plus sign that was not escaped in the URL arrives as a space.
        text = plain if "T" not in plain else plain.replace(" ", "+")
        found = values.parse_iso_time(text, zone=timezone.get_current_timezone())
    if found is None:
        raise InvalidValue(_("must be a time, for example 2026-01-31T12:00:00+03:00."))
    return found


def parse_choices(*choices: str) -> Callable[[str], list[str]]:
    """Return a parser of one or more comma-separated choices. It raises InvalidValue."""

    def read(value: str) -> list[str]:
        words = [word.strip() for word in value.split(",")]
        if not set(words) <= set(choices):
            raise InvalidValue(_("must be one of: %(choices)s.") % {"choices": ", ".join(choices)})
        return words

    read.choices = choices  # type: ignore[attr-defined]  # for the schema
    return read


@dataclass(frozen=True, kw_only=True)
class QueryFilter:
    """A query parameter of a list: ``read`` parses the value, ``by`` is a lookup or a function that filters.

    ``by_channels`` is a function that also gets the IDs of the chat channels that the user sees.
    """

    read: Callable[[str], Any]
    by: str | Callable[[QuerySet[Any], Any], QuerySet[Any]] = ""
    by_channels: Callable[[QuerySet[Any], Any, list[int]], QuerySet[Any]] | None = None
    help: str = ""

    def apply(self, rows: QuerySet[Any], value: Any, *, user: Any) -> QuerySet[Any]:
        if self.by_channels is not None:
            return self.by_channels(rows, value, ChatChannel.objects.list_visible_ids(user))
        return rows.filter(**{self.by: value}) if isinstance(self.by, str) else self.by(rows, value)

    def describe(self, name: str) -> dict[str, Any]:
        """Return the parameter's description for the OpenAPI schema."""
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if self.read is parse_number:
            schema = {"type": "integer"}
        elif self.read is parse_moment:
            schema = {"type": "string", "format": "date-time"}
        elif choices := getattr(self.read, "choices", None):
            schema = {"type": "array", "items": {"type": "string", "enum": list(choices)}}
        described = {"name": name, "in": "query", "required": False, "description": self.help, "schema": schema}
        return described | ({"style": "form", "explode": False} if schema["type"] == "array" else {})


SINCE = QueryFilter(read=parse_moment, by="created_at__gte", help="Created at this time or later.")
UNTIL = QueryFilter(read=parse_moment, by="created_at__lt", help="Created before this time.")


class QueryFilterBackend(BaseFilterBackend):
    """Apply the ``filters`` of a view. Unknown parameters are ignored; empty and invalid ones are a 400."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        for name, filter_ in view.filters.items():
            value = request.query_params.get(name)
            if value is not None:
                queryset = filter_.apply(queryset, self._read(name, filter_, value), user=request.user)
        return queryset

    def _read(self, name: str, filter_: QueryFilter, value: str) -> Any:
        if not value:
            raise exceptions.ValidationError({name: [_("must not be empty.")]})
        try:
            return filter_.read(value)
        except InvalidValue as problem:
            raise exceptions.ValidationError({name: [str(problem)]}) from None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [filter_.describe(name) for name, filter_ in view.filters.items()]


# --- paging ----------------------------------------------------------------------------------------------


class KeysetPagination(CursorPagination):
    """Keyset pagination, newest first. All pages cost the same, and new rows do not shift them."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    page_size_query_description = "Items per page, at most 200."
    ordering = "-id"
    orderings = ("-id", "id")
    count: int | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        if request.query_params.get("count") in ("1", "true"):
            self.count = queryset.count()
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int:
        size = request.query_params.get(self.page_size_query_param)
        if size is None:
            return self.page_size
        if not (size.isascii() and size.isdigit()) or not 1 <= int(size[:9]) <= self.max_page_size:
            raise exceptions.ValidationError({self.page_size_query_param: [_("must be a number from 1 to 200.")]})
        return int(size)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        ordering = request.query_params.get("ordering", self.ordering)
        if ordering not in self.orderings:
            raise exceptions.ValidationError({"ordering": [_("must be one of: %(choices)s.") % {"choices": "id, -id"}]})
        return (ordering,)

    def decode_cursor(self, request: Request) -> Any:
        """Decode the cursor of a ``next`` link. Raises ValidationError for anything else."""
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            position = parse_qs(b64decode(encoded.encode("ascii")).decode("ascii")).get("p", ["0"])[0]
            if not (position.isascii() and position.isdigit()) or int(position[:20]) > MAX_ID:
                raise ValueError
            return super().decode_cursor(request)
        except (ValueError, exceptions.NotFound):
            raise exceptions.ValidationError({"cursor": [_("must be copied unchanged from “next”.")]}) from None

    def get_paginated_response(self, data: Any) -> Response:
        body = {"next": self.get_next_link(), "results": data}
        return Response(body if self.count is None else {"count": self.count} | body)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "count": {"type": "integer", "description": "Total number of items; only with count=1."},
                "next": {"type": "string", "nullable": True, "format": "uri"},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        described = {
            "cursor": ({"type": "string"}, "Start of the page, copied from “next”."),
            "page_size": ({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Items per page."),
            "ordering": ({"type": "string", "enum": list(self.orderings), "default": self.ordering}, "Sort order."),
            "count": ({"type": "integer", "enum": [1]}, "Return the total count, too. Slow for long lists."),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": help_, "schema": schema}
            for name, (schema, help_) in described.items()
        ]
