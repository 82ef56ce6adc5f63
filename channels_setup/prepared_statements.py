"""Prepared statements for the hot path of workers: PostgreSQL plans a statement once in some seconds, not at each call.

Only workers enable them. They have session pooling or PostgreSQL itself, because they hold session locks; a web
process may be behind PgBouncer with transaction pooling. Elsewhere ``execute`` runs the plain statement.

A plan is made for any values, so a statement must not need a value to use a partial index: the condition must be in
its text. Plans are dropped after KEEP_SECONDS, because a plan that suits an empty table does not suit a full one, and
PostgreSQL only replaces it when the table is analyzed.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import Error, connection
from django.db.backends.utils import CursorWrapper

KEEP_SECONDS = 10.0
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
    session = _Session()


def enable() -> None:
    """Use prepared statements in this process, which has one thread that uses the database."""
    _State.is_enabled = True


def execute(cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> None:
    """Execute a statement, prepared if this process uses that. Its text must come from a small set."""
    if not _State.is_enabled:
        cursor.execute(sql, parameters)
        return
    session = _find_session()
    if session.is_plain:
        cursor.execute(sql, parameters)
        return
    try:
        if session.names and time.monotonic() >= session.drop_at:
            cursor.execute("DEALLOCATE ALL")
            session.names.clear()
        name = session.names.get(sql) or _prepare(cursor, session, sql)
        cursor.execute(_build_execute(sql, name), parameters)
    except Error as problem:
        if _read_sqlstate(problem) not in UNUSABLE:
            raise
        session.is_plain = True
        if connection.in_atomic_block:
            raise  # the callers repeat a transaction that failed
        cursor.execute(sql, parameters)


def _find_session() -> _Session:
    session = _State.session
    if session.raw is None or session.raw is not connection.connection:
        connection.ensure_connection()
        session = _State.session = _Session(raw=connection.connection)
    return session


def _prepare(cursor: CursorWrapper, session: _Session, sql: str) -> str:
    if not session.names:
        # Otherwise PostgreSQL plans the first five calls, and decides then.
        cursor.execute("SET plan_cache_mode TO force_generic_plan")
        session.drop_at = time.monotonic() + KEEP_SECONDS
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
