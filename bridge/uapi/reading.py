"""Base view and helpers of read-only methods of the public API: paging, time filters, lists of IDs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody

from .base import UapiView
from .base_call import UapiCall

PAGE_SIZE = 100
MAX_PAGES = 10_000

ModelT = TypeVar("ModelT", bound=models.Model)


class ReadOnlyView(UapiView):
    """Read-only method. It accepts GET, with the token in the query string, and stores no raw request."""

    methods = ("GET", "POST")
    writes = False


def get_page(call: UapiCall, rows: models.QuerySet[ModelT]) -> list[ModelT]:
    """Return page number ``offset``, counted from 0, of PAGE_SIZE rows."""
    number = values.parse_id(call.values.get("offset"), "offset") or 0
    begin = min(number, MAX_PAGES) * PAGE_SIZE
    return list(rows[begin : begin + PAGE_SIZE])


def filter_by_time(call: UapiCall, rows: models.QuerySet[ModelT], field: str, name: str) -> models.QuerySet[ModelT]:
    """Filter by ``<name>_after`` and ``<name>_before``. Both are inclusive and in UTC."""
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
        raise BadBody(_("“%(name)s” must be a time, for example 2026-11-25 00:00.") % {"name": name})
    return at


def read_ids(value: Any, name: str) -> list[int]:
    """Read IDs from a list, a comma-separated text or a single value. Raises BadBody."""
    if value is False or value == {}:
        return []
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    found = [values.parse_id(item.strip() if isinstance(item, str) else item, name) for item in items]
    return [number for number in found if number is not None]
