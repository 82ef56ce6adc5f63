"""First rows of a list that a search makes shorter, with the number of all of them."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


def read_first_rows(rows: QuerySet[Row], *, limit: int) -> tuple[list[Row], int]:
    """Return the first rows and the number of all rows. Counts only if there are more than ``limit``."""
    found = list(rows[: limit + 1])
    return found[:limit], len(found) if len(found) <= limit else rows.count()
