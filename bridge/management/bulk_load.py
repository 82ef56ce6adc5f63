"""Loading many rows at once: without secondary indexes, and without the triggers that check each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction

# Indexes that back no constraint. Constraints keep theirs, so that the rows are unique.
SECONDARY_INDEXES_SQL = """
SELECT quote_ident(c.relname), pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisunique
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
ORDER BY c.relname
"""


@contextmanager
def bulk_load(tables: Sequence[str]) -> Iterator[None]:
    """Drop the secondary indexes of the tables, and create them again at the end. All in one transaction.

    Foreign keys and triggers are not checked, if the database user is a superuser. Locks the tables.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone() == (True,):
            cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(SECONDARY_INDEXES_SQL, [list(tables)])
        indexes = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f"DROP INDEX {name}")
        yield
        cursor.execute("SET LOCAL maintenance_work_mem = '1GB'")
        for _name, definition in indexes:
            cursor.execute(definition)
