"""Load of a dump into an empty database, in one transaction: a failure leaves the database as it was.

pg_restore turns the dump into SQL, which psql executes between our own statements. psql gets the COMMIT only after
everything else has succeeded.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection

from .archives import CHUNK, HashingReader
from .database_dump import last_lines
from .manifest import BackupError
from .postgres_programs import PostgresPrograms, connection_arguments, server_version

# Rows that `migrate` creates in a new database, and what the portal writes about itself.
ROWS_OF_A_NEW_DATABASE = {
    "accounts_sharedcacheentry",
    "audit_record",
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "bridge_heartbeat",
    "bridge_writeprobe",
    "django_content_type",
    "django_migrations",
    "templates_registry_registry",
}
# Terse messages without context: they would quote the rows.
PSQL_OPTIONS = (
    *("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
    *("--set=VERBOSITY=terse", "--set=SHOW_CONTEXT=never"),
)
NEWER_SETTING = b"SET transaction_timeout = 0;"  # written by pg_restore 17 and newer; unknown to older servers
HEADER_LINES = 60


def find_tables_with_rows() -> list[str]:
    """Return the tables of the target that contain more than a new installation does."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table not in ROWS_OF_A_NEW_DATABASE:
                cursor.execute(f"SELECT EXISTS (SELECT FROM {connection.ops.quote_name(table)})")
                if cursor.fetchone()[0]:
                    found.append(table)
    return found


def count_other_connections() -> int:
    """Return how many other programs are connected to the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        count: int = cursor.fetchone()[0]
    return count


class DatabaseLoad:
    """One restore of a dump: parts in, then SQL of ours, then the commit."""

    def __init__(self, programs: PostgresPrograms, *, preparation: str) -> None:
        dsn, environment = connection_arguments()
        self._errors = {name: tempfile.TemporaryFile() for name in ("pg_restore", "psql")}  # noqa: SIM115
        self._keeps_header = server_version() >= 170_000
        self._restore = subprocess.Popen(
            programs.command("pg_restore", "--no-owner", "--no-privileges", "--file=-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors["pg_restore"],
            env=dict(environment),
        )
        self._psql = subprocess.Popen(
            programs.command("psql", *PSQL_OPTIONS, f"--dbname={dsn}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors["psql"],
            env=dict(environment),
        )
        self._execute(preparation)
        self._copying = threading.Thread(target=self._copy_sql, daemon=True)
        self._copying.start()

    def add_part(self, part: HashingReader) -> None:
        """Load the next part of the dump."""
        assert self._restore.stdin is not None
        try:
            while data := part.read(CHUNK):
                self._restore.stdin.write(data)
        except BrokenPipeError as problem:
            raise self._describe_failure() from problem

    def finish_dump(self, adaptation: str) -> None:
        """Wait for the end of the dump, and execute our own statements after it."""
        assert self._restore.stdin is not None
        with suppress(BrokenPipeError):
            self._restore.stdin.close()
        self._copying.join()
        if self._restore.wait() or self._psql.poll() is not None:
            raise self._describe_failure()
        self._execute(adaptation)

    def commit(self) -> None:
        """Commit. Until then nothing is visible, and a failure changes nothing."""
        self._execute("COMMIT;")
        assert self._psql.stdin is not None
        with suppress(BrokenPipeError):
            self._psql.stdin.close()
        if self._psql.wait():
            raise self._describe_failure()

    def close(self) -> None:
        """End the programs. Without a commit the database stays as it was."""
        for process in (self._restore, self._psql):
            process.kill()
            process.wait()
        self._copying.join()
        for stream in (self._restore.stdin, self._restore.stdout, self._psql.stdin):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        for errors in self._errors.values():
            errors.close()

    def _execute(self, statements: str) -> None:
        assert self._psql.stdin is not None
        try:
            self._psql.stdin.write(statements.encode() + b"\n")
            self._psql.stdin.flush()
        except BrokenPipeError as problem:
            raise self._describe_failure() from problem

    def _copy_sql(self) -> None:
        source, target = self._restore.stdout, self._psql.stdin
        assert source is not None and target is not None
        with suppress(OSError, ValueError):  # psql has ended: the next step reports why
            for _ in range(HEADER_LINES):
                line = source.readline()
                if self._keeps_header or line.rstrip() != NEWER_SETTING:
                    target.write(line)
            while data := source.read(CHUNK):
                target.write(data)
            target.flush()
            return
        self._restore.kill()

    def _describe_failure(self) -> BackupError:
        """Return what the program says that failed first: if psql ends, pg_restore loses its output and fails too."""
        with suppress(subprocess.TimeoutExpired):
            self._psql.wait(1)
        failed = "psql" if self._psql.returncode else "pg_restore"
        text = last_lines(self._errors[failed])
        return BackupError(f"The database was not restored; nothing in it was changed. {failed}: {text}")


@contextmanager
def open_load(programs: PostgresPrograms, *, preparation: str) -> Iterator[DatabaseLoad]:
    load = DatabaseLoad(programs, preparation=preparation)
    try:
        yield load
    finally:
        load.close()
