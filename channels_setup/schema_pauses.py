"""Pauses of tasks while the database has the schema of another release."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError

from .database_schema import SchemaMismatch, SchemaState, find_reason_to_wait, read_schema_state

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0  # between two checks whether the schema has changed
RETRY_SECONDS = 300.0  # after this a task tries again although the schema is still the same
LOG_SECONDS = 60.0  # one line of a task in this time
_pauses: dict[str, Pause] = {}
_logged: dict[str, float] = {}


class Pause:
    """Pause of one task in this process, after one of its statements met another schema."""

    def __init__(self) -> None:
        self.since = self.checked_at = time.monotonic()
        self.state = _read_state()

    def is_over(self) -> bool:
        """Return whether the schema has changed since, or the time is over."""
        now = time.monotonic()
        if now - self.since > RETRY_SECONDS:
            return True
        if now - self.checked_at < CHECK_SECONDS:
            return False
        self.checked_at = now
        return _read_state() != self.state


def _read_state() -> SchemaState | None:
    try:
        return read_schema_state()
    except DatabaseError:
        return None


def run_unless_waiting(name: str, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a task, unless it must wait for the schema of this code. It then returns None.

    After a SchemaMismatch it waits until the migrations change: each try could make calls whose result cannot be saved.
    """
    sentence = find_reason_to_wait()
    if not sentence and name in _pauses and not _pauses[name].is_over():
        sentence = "The database still has the schema of another release."
    if sentence:
        _log(name, sentence)
        return None
    _pauses.pop(name, None)
    try:
        return run(*args, **kwargs)
    except SchemaMismatch as problem:
        _log(name, problem.safe_description)
        _pauses[name] = Pause()
        return None


def _log(name: str, sentence: str) -> None:
    now = time.monotonic()
    if now - _logged.get(name, float("-inf")) > LOG_SECONDS:
        _logged[name] = now
        logger.warning("task waits for the database schema: %s: %s", name, sentence)
