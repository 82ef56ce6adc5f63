"""Whether the database has the schema of this code, and the error of a statement that met another one.

During an upgrade the code of two releases runs on one database. If a statement fails because of that, the message that
it processes is not the cause, so its error becomes a ``SchemaMismatch``. That is an ``OperationalError``: code that
waits for an unavailable database also waits for the upgrade. New code on an old schema does not begin at all
(``find_reason_to_wait``), because its work before the first error may be wrong.

The schema is known by the names of the migrations: those of the code (its files) and those applied (django_migrations).
"""

from __future__ import annotations

import pkgutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.db import DatabaseError, Error, IntegrityError, OperationalError, ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader

from .advisory_locks import LockSpace

CHECK_SECONDS = 1.0  # between two checks of the migrations while some are missing
# SQLSTATE of class 42 that say nothing about the schema: a right that is missing, and wrong SQL.
NOT_OF_SCHEMA = ("42501", "42601")
NOT_NULL_VIOLATION = "23502"
# Whether any migration was applied, and whether `migrate` is running, which holds an advisory lock.
STATE_SQL = """
SELECT to_regclass('django_migrations') IS NOT NULL, EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

MigrationName = tuple[str, str]  # app, name


@dataclass(frozen=True, kw_only=True)
class SchemaState:
    """Migrations that the database lacks, migrations that this code does not know, and whether `migrate` runs now."""

    missing: tuple[MigrationName, ...] = ()
    unknown: tuple[MigrationName, ...] = ()
    is_migrating: bool = False

    @property
    def sentence(self) -> str:
        """What is wrong and what to do; empty if nothing is. English, for logs and health."""
        if self.is_migrating:
            return "The database is being upgraded by manage.py migrate."
        if self.missing:
            return f"The database lacks {_list_names(self.missing)} of this code. Run manage.py migrate."
        if self.unknown:
            names = _list_names(self.unknown)
            return f"The database has {names}, which this code does not know. Start the release that was migrated to."
        return ""


class SchemaMismatch(OperationalError):
    """A statement failed because the database has another schema than this code. The work waits; it has not failed."""

    def __init__(self, safe_description: str) -> None:
        super().__init__(safe_description)
        self.safe_description = safe_description  # contains no data


class _ThreadState(threading.local):
    mismatch = ""  # the last one of this thread's request


_thread = _ThreadState()


@dataclass
class SchemaWatch:
    """The state of one process. Servers enable it; commands and tests run whatever the schema."""

    is_enabled: bool = False
    fits: bool = False  # migrations only go forward, so nothing is missing ever again
    checked_at: float = float("-inf")
    reason: str = ""
    is_migrating_itself: bool = False
    last_state: SchemaState | None = None  # when this process looked last


watch = SchemaWatch()


def find_reason_to_wait() -> str:
    """Return why this process must not work yet, or "". Costs nothing once no migration is missing."""
    if watch.fits or not watch.is_enabled:
        return ""
    if time.monotonic() - watch.checked_at >= CHECK_SECONDS:
        try:
            state = read_schema_state()
        except Error:  # the task itself notices that the database is unavailable; the last reason still holds
            connection.close_if_unusable_or_obsolete()
            return watch.reason
        watch.checked_at, watch.last_state = time.monotonic(), state
        watch.fits = not state.missing
        watch.reason = state.sentence if state.missing else ""
    return watch.reason


def read_schema_state(using: Any = None) -> SchemaState:
    """Compare the applied migrations with those of the code. Raises DatabaseError."""
    known = list_code_migrations()
    with (using or connection).cursor() as cursor:
        cursor.execute(STATE_SQL, [LockSpace.MIGRATE.value, 0])
        has_table, is_migrating = cursor.fetchone()
        applied: set[MigrationName] = set()
        if has_table:
            cursor.execute("SELECT app, name FROM django_migrations")
            applied = set(cursor.fetchall())
    our_apps = {app for app, _name in known}
    return SchemaState(
        missing=tuple(sorted(known - applied)),
        unknown=tuple(sorted(each for each in applied - known if each[0] in our_apps)),
        is_migrating=is_migrating,
    )


@lru_cache
def list_code_migrations() -> frozenset[MigrationName]:
    """Return the migrations of all installed apps by the names of their files, without loading them."""
    found: set[MigrationName] = set()
    for app in apps.get_app_configs():
        package, _is_explicit = MigrationLoader.migrations_module(app.label)
        spec = find_spec(package) if package else None
        names = [each.name for each in pkgutil.iter_modules(spec.submodule_search_locations if spec else [])]
        found |= {(app.label, name) for name in names if name[0] not in "_~"}
    return frozenset(found)


def _list_names(names: tuple[MigrationName, ...]) -> str:
    first = ".".join(names[0])
    return f"migration {first}" if len(names) == 1 else f"{len(names)} migrations (the first is {first})"


# --- errors ----------------------------------------------------------------------------------------------


def raise_mismatch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute a statement, and turn the error of a schema that differs into a SchemaMismatch (an execute wrapper)."""
    try:
        return execute(sql, params, many, context)
    except (ProgrammingError, IntegrityError) as problem:
        if watch.is_migrating_itself or (reason := explain_mismatch(problem, context["connection"])) is None:
            raise
        _thread.mismatch = reason
        diagnostic = problem.__cause__.diag  # type: ignore[union-attr]  # explain_mismatch has read it
        raise SchemaMismatch(f"{diagnostic.sqlstate} {reason}") from problem


def explain_mismatch(problem: DatabaseError, failed_connection: Any) -> str | None:
    """Return why the schema is the cause of an error, or None if it is not."""
    diagnostic: Any = getattr(problem.__cause__, "diag", None)
    code = str(getattr(diagnostic, "sqlstate", None) or "")
    if code == NOT_NULL_VIOLATION:
        place = f"{diagnostic.table_name}.{diagnostic.column_name}"
        if place in list_required_columns() or diagnostic.table_name not in list_tables():
            return None
        return f"The database requires a value in {place}, which this code does not know or leaves empty."
    if not code.startswith("42") or code in NOT_OF_SCHEMA:
        return None
    before = watch.last_state
    # A connection of its own: the failed one is in an aborted transaction.
    other = failed_connection.copy()
    try:
        state = watch.last_state = read_schema_state(other)
    except DatabaseError:
        return None
    finally:
        other.close()
    if state.sentence:
        return state.sentence
    has_changed = before is not None and before != state  # `migrate` ended between the statement and this look
    return "The database has just been upgraded." if has_changed else None


@lru_cache
def list_required_columns() -> frozenset[str]:
    """Return the columns ("table.column") that this code always fills. An empty one is a fault of the data."""
    return frozenset(
        f"{model._meta.db_table}.{field.column}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.local_concrete_fields
        if not field.null
    )


@lru_cache
def list_tables() -> frozenset[str]:
    return frozenset(model._meta.db_table for model in apps.get_models(include_auto_created=True))


def install_error_translation(connection: Any, **_: Any) -> None:
    """Receive ``connection_created``. First in the list, because others add and remove theirs at its end."""
    if raise_mismatch not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, raise_mismatch)


def forget_mismatch() -> None:
    """Begin a request of this thread."""
    _thread.mismatch = ""


def get_mismatch() -> str:
    """Return the reason of the last SchemaMismatch of this thread's request, or ""."""
    return _thread.mismatch
