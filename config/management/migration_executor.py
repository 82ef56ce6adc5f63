"""Execution of migrations during traffic: short waits for locks, retries, and progress lines.

A statement that waits for a table lock blocks all later statements on the table, even reads. So it waits LOCK_MS at
most, and is retried after a pause that lets the others run. Statements that block nobody (CONCURRENTLY, VALIDATE) wait
as long as they need.

A migration that is not atomic keeps its finished statements after an interruption. Its next run skips them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, OperationalError, ProgrammingError
from django.db.migrations.executor import MigrationExecutor

LOCK_MS = 500  # most that a statement of a migration makes others wait
INNER_LOCK_MS = 5_000  # in a transaction inside a migration that is not atomic, which cannot be repeated
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries; the last one repeats
GIVE_UP_SECONDS = 600
PROGRESS_SECONDS = 10  # between two lines about a long statement
LOCK_TIMEOUT = "55P03"  # SQLSTATE
# SQLSTATE of a statement that creates what exists, or drops what does not.
ALREADY_CREATED = {"42701", "42710", "42P07"}  # column, object (such as a constraint), table or index
ALREADY_DROPPED = {"42703", "42704", "42P01"}
DROPS = re.compile(r"^\s*DROP\b|\bDROP (?:CONSTRAINT|COLUMN)\b", re.IGNORECASE)
HARMLESS = re.compile(r"\bCONCURRENTLY\b|\bVALIDATE CONSTRAINT\b", re.IGNORECASE)
CREATE_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?"?(\w+)', re.IGNORECASE)
INVALID_INDEX_SQL = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
OLD_TRANSACTIONS_SQL = """
SELECT pid, application_name, round(extract(epoch FROM clock_timestamp() - xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 second'
ORDER BY xact_start LIMIT 3
"""
PROGRESS_SQL = """
SELECT round(extract(epoch FROM clock_timestamp() - a.query_start)), left(a.query, 100), p.phase,
    p.blocks_done, p.blocks_total, pg_blocking_pids(a.pid)
FROM pg_stat_activity a LEFT JOIN pg_stat_progress_create_index p ON p.pid = a.pid WHERE a.pid = %s
"""

Report = Callable[[str], None]


class PatientExecutor(MigrationExecutor):
    """Django's executor with short waits for locks."""

    def __init__(self, connection: Any, progress_callback: Any = None, *, report: Report) -> None:
        super().__init__(connection, progress_callback)
        self.report = report

    def apply_migration(self, state: Any, migration: Any, fake: bool = False, fake_initial: bool = False) -> Any:
        waits = LockWaits(self.connection, is_atomic=migration.atomic, report=self.report)
        with self.connection.execute_wrapper(waits), report_progress(self.connection, self.report):
            while True:
                try:
                    return super().apply_migration(state, migration, fake, fake_initial)
                except OperationalError as problem:
                    if not migration.atomic or not waits.pause_after(problem):
                        raise
                    self.loader.build_graph()
                    # The failed try has changed the state.
                    state = self._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]


class LockWaits:
    """Execute wrapper of one migration: sets the time limit for locks, and repeats what can be repeated."""

    def __init__(self, connection: Any, *, is_atomic: bool, report: Report) -> None:
        self.connection, self.is_atomic, self.report = connection, is_atomic, report
        self.since = time.monotonic()
        self.tries = 0

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        text = str(sql)
        if self.connection.in_atomic_block:
            self._limit(LOCK_MS if self.is_atomic else INNER_LOCK_MS)
            return execute(sql, params, many, context)
        self._limit(0 if HARMLESS.search(text) else LOCK_MS)
        if found := CREATE_INDEX.search(text):
            self._drop_invalid_index(found[1])
        while True:
            try:
                return execute(sql, params, many, context)
            except OperationalError as problem:
                if not self.pause_after(problem):
                    raise
            except ProgrammingError as problem:
                if not is_done_already(problem, text):
                    raise
                self.report(f"  Done before an interruption: {' '.join(text.split())[:100]}")
                return None

    def pause_after(self, problem: OperationalError) -> bool:
        """Say who holds locks, and pause. Return False if the problem is another one, or the time is over."""
        if getattr(problem.__cause__, "pgcode", None) != LOCK_TIMEOUT:
            return False
        if time.monotonic() - self.since > GIVE_UP_SECONDS:
            return False
        pause = PAUSES[min(self.tries, len(PAUSES) - 1)]
        self.tries += 1
        self.report(f"  A table is in use; trying again in {pause:g} s. {describe_old_transactions(self.connection)}")
        time.sleep(pause)
        return True

    def _limit(self, milliseconds: int) -> None:
        with self.connection.connection.cursor() as cursor:  # without the wrappers
            cursor.execute(f"SET lock_timeout = {milliseconds}")

    def _drop_invalid_index(self, name: str) -> None:
        """Drop what an interrupted CREATE INDEX CONCURRENTLY left behind."""
        with self.connection.connection.cursor() as cursor:
            cursor.execute(INVALID_INDEX_SQL, [name])
            if cursor.fetchone()[0]:
                self.report(f"  Index {name} is incomplete after an interruption; building it again.")
                cursor.execute(f'DROP INDEX CONCURRENTLY "{name}"')


def is_done_already(problem: ProgrammingError, statement: str) -> bool:
    """Return whether an interrupted run of this migration has executed the statement. Each is done whole or not."""
    code = getattr(problem.__cause__, "pgcode", None)
    return code in (ALREADY_DROPPED if DROPS.search(statement) else ALREADY_CREATED)


def describe_old_transactions(connection: Any) -> str:
    with connection.connection.cursor() as cursor:
        cursor.execute(OLD_TRANSACTIONS_SQL)
        found = [f"process {pid} ({name or 'no name'}, {seconds:.0f} s)" for pid, name, seconds in cursor.fetchall()]
    return f"Oldest transactions: {', '.join(found)}." if found else "No transaction is older than a second."


@contextmanager
def report_progress(connection: Any, report: Report) -> Iterator[None]:
    """Report a statement that takes long, from a thread with a connection of its own."""
    connection.ensure_connection()
    pid, other, is_done = connection.connection.get_backend_pid(), connection.copy(), threading.Event()

    def watch() -> None:
        while not is_done.wait(PROGRESS_SECONDS):
            try:
                report(describe_progress(other, pid))
            except Error:
                other.close()
        other.close()

    other.inc_thread_sharing()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def describe_progress(connection: Any, pid: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(PROGRESS_SQL, [pid])
        seconds, query, phase, done, total, blocked_by = cursor.fetchone()
    share = f", {100 * done // total} %" if total else ""
    details = [f"{phase}{share}" if phase else "", f"waits for process {blocked_by[0]}" if blocked_by else ""]
    found = "; ".join(filter(None, details))
    return f"  … {seconds:.0f} s: {' '.join(query.split())}…" + (f" ({found})" if found else "")
