"""Stored data as text, to search it for data that must not be stored."""

from __future__ import annotations

from typing import Any

from django.db import connection


def dump_all_rows() -> str:
    """Return every row of the project's tables as text, with the bodies of raw requests decoded."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            if table.startswith(("bridge_", "django_admin_log", "channels_setup_", "templates_registry_")):
                cursor.execute(f"SELECT t::text FROM {table} t")
                found += [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT body FROM bridge_webhookevent")
        found += [bytes(row[0]).decode() for row in cursor.fetchall()]
    return "\n".join(found)


def dump_every_table() -> str:
    """Return every row of every table as text, with bytes decoded as Latin-1. Finds ASCII in any column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        texts = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM "{table}"')  # a name from the catalog
            for row in cursor.fetchall():
                texts += [as_text(cell) for cell in row]
    return "\n".join(texts)


def as_text(cell: Any) -> str:
    return bytes(cell).decode("latin-1") if isinstance(cell, memoryview | bytes) else str(cell)
