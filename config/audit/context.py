"""Who writes, and from where: sent to PostgreSQL together with the statement that writes.

A statement that writes an audited table is sent as ``SELECT set_config('okno.audit', …, true); UPDATE …``: one round
trip, and valid for this transaction only, so it works through PgBouncer. The trigger functions read the setting.
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from .tables import audited_tables

Description = dict[str, Any]
MAX_LENGTHS = {"actor": 200, "route": 200, "address": 64, "user_agent": 200, "request_id": 64}
SET_CONTEXT = "SELECT set_config('okno.audit', %s, true); "
WRITTEN_TABLE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?)"
    r"\s+\"?(\w+)\"?",
    re.IGNORECASE,
)

_describe_request: ContextVar[Callable[[], Description] | None] = ContextVar("okno_audit", default=None)
_process: Description | None = None


@contextmanager
def audit_context(describe: Callable[[], Description]) -> Iterator[None]:
    """Attribute the writes of a block. ``describe`` is called at each write: the user may sign in meanwhile."""
    token = _describe_request.set(describe)
    try:
        yield
    finally:
        _describe_request.reset(token)


def set_program(request: Any, name: str) -> None:
    """Name the program that makes a request, where it does not authenticate as a user."""
    request.audit_program = name


def set_command(arguments: Sequence[str]) -> None:
    """Attribute the writes of this process to a manage.py command and the operating system's user."""
    name = next((part for part in arguments[1:] if not part.startswith("-")), "")
    _set_process({"source": "command", "actor": _system_user(), "route": f"manage.py {name}".strip()})


def set_web_server() -> None:
    """Attribute writes of the web server outside of people's requests to the server."""
    _set_process({"source": "web"})


def set_worker() -> None:
    """Attribute the writes of this process to the background workers."""
    _set_process({"source": "worker"})


def _set_process(description: Description) -> None:
    global _process
    _process = description


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else Path.home().name


def current_description() -> Description | None:
    """Return who writes now, or None where nobody said so: then the record names the database's user."""
    describe = _describe_request.get()
    return describe() if describe is not None else _process


def watch_connection(*, connection: Any, **_kwargs: Any) -> None:
    """Handle Django's ``connection_created``: send the context along with writes of this connection."""
    if connection.vendor == "postgresql" and send_context not in connection.execute_wrappers:
        # At the front: a temporary wrapper that is active now removes the last one of the list.
        connection.execute_wrappers.insert(0, send_context)


def send_context(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute wrapper: prepend the context to statements that write audited tables."""
    if _describe_request.get() is None and _process is None:
        return execute(sql, params, many, context)
    if not isinstance(sql, str) or not (tables := written_audited_tables(sql)):
        return execute(sql, params, many, context)
    description = current_description() or {}
    if not description.get("actor") and all(people_only for people_only in tables):
        return execute(sql, params, many, context)  # the message flow: nothing would be recorded
    value = serialize(description)
    if many:
        execute(SET_CONTEXT, [value], False, context)
        return execute(sql, params, many, context)
    if params is None:
        return execute(SET_CONTEXT + sql.replace("%", "%%"), (value,), many, context)
    if isinstance(params, dict):
        return execute(
            SET_CONTEXT.replace("%s", "%(okno_audit)s") + sql, {**params, "okno_audit": value}, many, context
        )
    return execute(SET_CONTEXT + sql, (value, *params), many, context)


def written_audited_tables(sql: str) -> list[bool]:
    """Return, for each audited table that a statement writes, whether only people's changes are recorded."""
    start = sql.lstrip()[:9].upper()
    if start.startswith("SELECT") or not start:
        return []
    tables = audited_tables()
    if start.startswith("WITH"):
        found = [match[1] for match in WRITTEN_TABLE.finditer(sql)]
    else:
        match = WRITTEN_TABLE.match(sql.lstrip())
        found = [match[1]] if match else []
    return [tables[name] for name in found if name in tables]


def serialize(description: Description) -> str:
    """Return the context as JSON that PostgreSQL accepts, with texts cut to the record's columns."""
    return json.dumps({name: _clean(name, value) for name, value in description.items() if value not in (None, "")})


def _clean(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "").encode("utf-8", "replace").decode()
    return text[: MAX_LENGTHS.get(name, 200)]
