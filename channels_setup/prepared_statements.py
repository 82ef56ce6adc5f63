"""Prepared statements: PostgreSQL plans a statement once, not at each call.

``execute`` is for the hot path of workers. They have session pooling or PostgreSQL itself, because they hold session
locks. A plan is made for any values, so a statement must not need a value to use a partial index: the condition must be
in its text. Plans are dropped after KEEP_SECONDS, because a plan that suits an empty table does not suit a full one,
and PostgreSQL only replaces it when the table is analyzed.

``execute_read`` is for what web processes read by ID for each page. PostgreSQL plans the first five calls, and decides
then whether one plan for all values is as good. A web process may be behind PgBouncer with transaction pooling, so
reads are prepared only outside transactions: if the pooler passes on another session, the plain statement follows, and
the connection prepares no more. A statement's name contains the hash of its text, so a session that has the name
already has the same statement.

In other processes, both run the plain statement.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import Error, connection
from django.db.backends.utils import CursorWrapper

KEEP_SECONDS = 10.0
KEEP_READS_SECONDS = 600.0  # such tables are small, or read by ID
# A placeholder, with the cast that follows it. The cast is needed twice: without it in EXECUTE, an array of NULLs would
# be an array of texts.
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?s(::\w+(?: with time zone| precision)?(?:\[\])?)?")
# SQLSTATE: a migration changed a column of the result; the pooler has passed on another session, without or with the
# statement.
UNUSABLE = ("0A000", "26000", "42P05")


@dataclass
class _Session:
    """Prepared statements of one database session."""

    raw: Any = None  # psycopg2's connection
    names: dict[str, str] = field(default_factory=dict)  # statement → name
    drop_at: float = 0.0
    is_plain: bool = False  # prepared statements do not work


class _State:
    is_enabled = False
    prepares_reads = False


class _Thread(threading.local):
    session = _Session()  # of this thread's connection


_thread = _Thread()


def enable() -> None:
    """Prepare the statements of ``execute`` in this process."""
    _State.is_enabled = True


def enable_reads() -> None:
    """Prepare the statements of ``execute_read`` in this process."""
    _State.prepares_reads = True


def execute(cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> None:
    """Execute a statement, prepared if this process uses that. Its text must come from a small set."""
    if not _State.is_enabled:
        cursor.execute(sql, parameters)
        return
    _execute_prepared(cursor, sql, parameters)


def execute_read(cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> None:
    """Execute a SELECT, prepared in web processes outside transactions. Its text must come from a small set."""
    if not _State.prepares_reads or connection.in_atomic_block:
        cursor.execute(sql, parameters)
        return
    _execute_prepared(cursor, sql, parameters, is_read=True)


def _execute_prepared(
    cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any] | Sequence[Any], *, is_read: bool = False
) -> None:
    session = _find_session()
    if session.is_plain:
        cursor.execute(sql, parameters)
        return
    try:
        if session.names and time.monotonic() >= session.drop_at:
            cursor.execute("DEALLOCATE ALL")
            session.names.clear()
        name = session.names.get(sql) or _prepare(cursor, session, sql, is_read=is_read)
        cursor.execute(_build_execute(sql, name), parameters)
    except Error as problem:
        if _read_sqlstate(problem) not in UNUSABLE:
            raise
        session.is_plain = True
        if connection.in_atomic_block:
            raise  # the callers repeat a transaction that failed
        cursor.execute(sql, parameters)


def _find_session() -> _Session:
    session = _thread.session
    if session.raw is None or session.raw is not connection.connection:
        connection.ensure_connection()
        session = _thread.session = _Session(raw=connection.connection)
    return session


def _prepare(cursor: CursorWrapper, session: _Session, sql: str, *, is_read: bool) -> str:
    if not session.names:
        if not is_read:  # otherwise PostgreSQL plans the first five calls, and decides then
            cursor.execute("SET plan_cache_mode TO force_generic_plan")
        session.drop_at = time.monotonic() + (KEEP_READS_SECONDS if is_read else KEEP_SECONDS)
    name = f"okno_{hashlib.sha256(sql.encode()).hexdigest()[:32]}"  # never that of another statement
    cursor.execute(f"PREPARE {name} AS {_number_placeholders(sql)}")
    session.names[sql] = name
    return name


@lru_cache(maxsize=256)
def _number_placeholders(sql: str) -> str:
    """Return the statement with $1, $2, … for its placeholders: one for each, because their types may differ."""
    parts = PLACEHOLDER.split(sql)  # text, cast, text, cast, …, text
    numbered = (f"${number + 1}{cast or ''}{text}" for number, (cast, text) in enumerate(_pair(parts[1:])))
    return (parts[0] + "".join(numbered)).replace("%%", "%")


@lru_cache(maxsize=256)
def _build_execute(sql: str, name: str) -> str:
    values = ", ".join(match.group(0) for match in PLACEHOLDER.finditer(sql))
    return f"EXECUTE {name} ({values})" if values else f"EXECUTE {name}"


def _pair(parts: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


def _read_sqlstate(problem: BaseException | None) -> str:
    while problem is not None:
        if code := getattr(problem, "pgcode", None):
            return str(code)
        problem = problem.__cause__
    return ""
