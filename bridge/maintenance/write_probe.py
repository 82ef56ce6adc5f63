"""A probe of whether the database takes messages: asked by /health/ready.

Reading may work while writing does not: a full disk, a read-only server, a missing table, a lost right. So a row is
written. It fills a page of its own and no row is updated or deleted, so each probe needs new space, as messages do.
The table is emptied when it has grown to a few megabytes.
"""

from __future__ import annotations

import time
from threading import Lock

from django.apps import apps
from django.db import DatabaseError, connection, transaction

from bridge.models import WriteProbe

ASKED_EVERY = 5.0  # seconds; asking more often costs nothing
LOCK_TIMEOUT = "2s"
LARGEST = 4 * 1024 * 1024
ROW_BYTES = 7_500  # of a page's 8,192, and stored plainly: no two rows share a page

MISSING = """
SELECT name FROM unnest(%s::text[]) AS name
WHERE to_regclass(quote_ident(name)) IS NULL OR NOT has_table_privilege(to_regclass(quote_ident(name)), 'INSERT')
"""
# Sessions that stand already go on writing; whatever connects from now on cannot.
READ_ONLY_FOR_NEW_SESSIONS = """
SELECT EXISTS (
    SELECT FROM pg_db_role_setting s
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
      AND s.setconfig && ARRAY['default_transaction_read_only=on', 'default_transaction_read_only=true'])
"""
TABLE = WriteProbe._meta.db_table


class CannotWrite(DatabaseError):
    """The database would refuse messages. Its text names the cause, and no host or user."""


_lock = Lock()
_asked_at = float("-inf")
_problem = ""


def check() -> None:
    """Raise CannotWrite if messages would be refused. Asks the database every few seconds at most."""
    global _asked_at, _problem
    with _lock:
        if time.monotonic() - _asked_at >= ASKED_EVERY:
            _problem = _ask()
            _asked_at = time.monotonic()
        if _problem:
            raise CannotWrite(_problem)


def forget() -> None:
    """Ask the database again at the next check."""
    global _asked_at
    _asked_at = float("-inf")


def _ask() -> str:
    """Write a row; return what went wrong."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            cursor.execute(MISSING, [_tables()])
            if missing := [row[0] for row in cursor.fetchall()]:
                return f"missing, or no right to insert: {', '.join(missing[:3])}"
            cursor.execute(READ_ONLY_FOR_NEW_SESSIONS)
            if cursor.fetchone() == (True,):
                return "read-only for new connections"
            _empty_if_large()
            cursor.execute(f"INSERT INTO {TABLE} (filler) VALUES (repeat('x', %s))", [ROW_BYTES])
    except DatabaseError as problem:
        return type(problem.__cause__ or problem).__name__
    return ""


def _tables() -> list[str]:
    """The tables that a message is written to on its way, in either direction."""
    return sorted({model._meta.db_table for model in apps.get_app_config("bridge").get_models()})


def _empty_if_large() -> None:
    """Empty the probe's table, unless a backup is reading it: then it may grow for a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s::regclass)", [TABLE])
        if cursor.fetchone()[0] <= LARGEST:
            return
        try:
            with transaction.atomic():
                cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE NOWAIT")
                cursor.execute(f"TRUNCATE {TABLE}")
        except DatabaseError:
            return
