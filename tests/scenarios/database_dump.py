"""Stored data as text, to search it for data that must not be stored."""

from __future__ import annotations

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
