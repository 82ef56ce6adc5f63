"""What the reading methods of the public API have in common: GET as well as POST, pages of a hundred, time filters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody

from .base import UapiCall, UapiView

PAGE_SIZE = 100
MAX_PAGES = 10_000  # pages

ModelT = TypeVar("ModelT", bound=models.Model)


class ReadOnlyView(UapiView):
    """A method that changes nothing: no raw request is kept, and the token may stand in the query."""

    methods = ("GET", "POST")
    writes = False


def get_page(call: UapiCall, rows: models.QuerySet[ModelT]) -> list[ModelT]:
    """The hundred that ``offset`` names: 0 the first, 1 the next."""
    number = values.parse_id(call.values.get("offset"), "offset") or 0
    begin = min(number, MAX_PAGES) * PAGE_SIZE
    return list(rows[begin : begin + PAGE_SIZE])


def filter_by_time(call: UapiCall, rows: models.QuerySet[ModelT], field: str, name: str) -> models.QuerySet[ModelT]:
    """``<name>_after`` and ``<name>_before``, both inclusive, UTC."""
    for suffix, lookup in (("after", "gte"), ("before", "lte")):
        if (at := _read_time(call.values.get(f"{name}_{suffix}"), f"{name}_{suffix}")) is not None:
            rows = rows.filter(**{f"{field}__{lookup}": at})
    return rows


def _read_time(value: Any, name: str) -> datetime | None:
    text = values.as_text(value).strip()
    if not text:
        return None
    at = values.parse_iso_time(text, zone=UTC)
    if at is None:
        raise BadBody(_("“%(name)s” must be a time such as 2026-11-25 00:00.") % {"name": name})
    return at


def read_ids(value: Any, name: str) -> list[int]:
    """Ids by commas, as a list, or one alone."""
    if value is False or value == {}:
        return []
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    found = [values.parse_id(item.strip() if isinstance(item, str) else item, name) for item in items]
    return [number for number in found if number is not None]
