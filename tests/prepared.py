"""Prepared statements in tests, as a worker uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.db import connection

from channels_setup import prepared_statements


@contextmanager
def prepares_statements() -> Iterator[None]:
    """Prepare statements during the block, and drop them afterwards."""
    session = prepared_statements._Session()
    with (
        patch.object(prepared_statements._State, "is_enabled", True),
        patch.object(prepared_statements._thread, "session", session),
    ):
        yield
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        cursor.execute("RESET plan_cache_mode")


def count_prepared() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return int(cursor.fetchone()[0])
