"""Write probe for /health/ready: does the database accept messages?

Reading may work while writing does not: a full disk, a read-only server, a missing table or privilege. The probe
inserts a row that fills a page of its own, and never updates or deletes one, so each probe needs new space, as messages
do. The table is emptied when it has grown to a few megabytes.
"""

from __future__ import annotations

import time
from threading import Lock

from django.apps import apps
from django.db import DatabaseError, connection, transaction

from bridge.models import WriteProbe

PROBE_INTERVAL = 5.0  # seconds between probes
LOCK_TIMEOUT = "2s"
MAX_TABLE_BYTES = 4 * 1024 * 1024
ROW_BYTES = 7_500  # of a page's 8,192, and stored plainly: no two rows share a page

MISSING_TABLES_SQL = """
SELECT name FROM unnest(%s::text[]) AS name
WHERE to_regclass(quote_ident(name)) IS NULL OR NOT has_table_privilege(to_regclass(quote_ident(name)), 'INSERT')
"""
# Open sessions can still write; new connections cannot.
READ_ONLY_SQL = """
SELECT EXISTS (
    SELECT FROM pg_db_role_setting s
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
      AND s.setconfig && ARRAY['default_transaction_read_only=on', 'default_transaction_read_only=true'])
"""
PROBE_TABLE = WriteProbe._meta.db_table


class CannotWrite(DatabaseError):
    """The database would refuse messages. Its text names the cause, and no host or user."""


_lock = Lock()
_probed_at = float("-inf")
_problem = ""


def check_writable() -> None:
    """Raise CannotWrite if messages would be refused. Probes the database at most every PROBE_INTERVAL seconds."""
    global _probed_at, _problem
    with _lock:
        if time.monotonic() - _probed_at >= PROBE_INTERVAL:
            _problem = _probe_database()
            _probed_at = time.monotonic()
        if _problem:
            raise CannotWrite(_problem)


def reset_write_check() -> None:
    """Probe the database again at the next check."""
    global _probed_at
    _probed_at = float("-inf")


def _probe_database() -> str:
    """Write a row. Return what went wrong, or ""."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            cursor.execute(MISSING_TABLES_SQL, [_list_written_tables()])
            if missing := [row[0] for row in cursor.fetchall()]:
                return f"missing, or no right to insert: {', '.join(missing[:3])}"
            cursor.execute(READ_ONLY_SQL)
            if cursor.fetchone() == (True,):
                return "read-only for new connections"
            _empty_if_large()
            cursor.execute(f"INSERT INTO {PROBE_TABLE} (filler) VALUES (repeat('x', %s))", [ROW_BYTES])
    except DatabaseError as problem:
        return type(problem.__cause__ or problem).__name__
    return ""


def _list_written_tables() -> list[str]:
    """Return the tables that must be writable."""
    return sorted({model._meta.db_table for model in apps.get_app_config("bridge").get_models()})


def _empty_if_large() -> None:
    """Empty the probe's table, unless a backup is reading it: then it may grow for a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s::regclass)", [PROBE_TABLE])
        if cursor.fetchone()[0] <= MAX_TABLE_BYTES:
            return
        try:
            with transaction.atomic():
                cursor.execute(f"LOCK TABLE {PROBE_TABLE} IN ACCESS EXCLUSIVE MODE NOWAIT")
                cursor.execute(f"TRUNCATE {PROBE_TABLE}")
        except DatabaseError:
            return
