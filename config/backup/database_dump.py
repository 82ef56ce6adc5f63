"""Dump of the database: one snapshot for the dump, the row counts and the list of files."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from django.apps import apps
from django.db import connection, models

from .archives import BackupWriter
from .manifest import DATABASE_FOLDER, BackupError
from .postgres_programs import PostgresPrograms, connection_arguments

PART_BYTES = 32 * 1024 * 1024  # the dump is stored in parts, because its size is not known when it begins
FETCH_ROWS = 10_000
# Custom format: compressed, in one stream, and independent of the target's owner, roles and table spaces.
DUMP_OPTIONS = (
    *("--format=custom", "--compress=3", "--no-owner", "--no-privileges", "--no-tablespaces"),
    *("--no-publications", "--no-subscriptions", "--no-security-labels", "--lock-wait-timeout=30s"),
)
OUR_TABLES = """
SELECT c.relname FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""


@dataclass(kw_only=True)
class Snapshot:
    """What the database contained at one moment. `paths`: the files that its rows name, one a line."""

    id: str
    tables: dict[str, int]
    migrations: list[str]
    seconds_since_beat: float | None
    paths: IO[bytes]
    close: Callable[[], None]


@contextmanager
def take_snapshot() -> Iterator[Snapshot]:
    """Export a snapshot and read counts and file names in it. `close()` ends its transaction: call it early."""
    database = connection.copy()
    with tempfile.TemporaryFile() as paths:
        try:
            with database.cursor() as cursor:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute("SET LOCAL statement_timeout = 0")
                cursor.execute("SELECT pg_export_snapshot()")
                name = cursor.fetchone()[0]
                _write_paths(cursor, paths)
                yield Snapshot(
                    id=name,
                    tables=count_rows(cursor),
                    migrations=_read_migrations(cursor),
                    seconds_since_beat=_read_activity(cursor),
                    paths=paths,
                    close=database.close,
                )
        finally:
            database.close()


def count_rows(cursor: Any) -> dict[str, int]:
    """Return the number of rows of each table of the portal."""
    cursor.execute(OUR_TABLES)
    tables = [name for (name,) in cursor.fetchall()]
    counts = {}
    for name in tables:
        cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(name)}")  # a name from the catalog
        counts[name] = cursor.fetchone()[0]
    return counts


def file_columns() -> list[tuple[str, str]]:
    """Return table and column of every field that names a stored file."""
    return [
        (model._meta.db_table, str(field.column))
        for model in apps.get_models()
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.FileField)
    ]


def _write_paths(cursor: Any, target: IO[bytes]) -> None:
    selects = (f'SELECT "{column}" FROM "{table}" WHERE "{column}" <> \'\'' for table, column in file_columns())
    cursor.execute(f"DECLARE stored_files NO SCROLL CURSOR FOR {' UNION '.join(selects)}")
    while True:
        cursor.execute(f"FETCH {FETCH_ROWS} FROM stored_files")
        rows = cursor.fetchall()
        if not rows:
            break
        target.write("".join(f"{path}\n" for (path,) in rows).encode())
    target.seek(0)


def _read_migrations(cursor: Any) -> list[str]:
    cursor.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1")
    return [name for (name,) in cursor.fetchall()]


def _read_activity(cursor: Any) -> float | None:
    """Return the seconds since the last heartbeat of any component: workers may go on while beat is stopped."""
    cursor.execute("SELECT extract(epoch FROM now() - max(at))::float FROM bridge_heartbeat")
    seconds: float | None = cursor.fetchone()[0]
    return seconds


def dump_database(
    writer: BackupWriter, snapshot: Snapshot, programs: PostgresPrograms, *, on_bytes: Callable[[int], None]
) -> int:
    """Write the dump in parts and return its size. Closes the snapshot as soon as pg_dump has taken it over."""
    dsn, environment = connection_arguments()
    command = programs.command("pg_dump", *DUMP_OPTIONS, f"--snapshot={snapshot.id}", f"--dbname={dsn}")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=dict(environment))
        try:
            assert process.stdout is not None
            total = _write_parts(writer, process.stdout, on_first=snapshot.close, on_bytes=on_bytes)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if code or not total:
            raise BackupError(f"pg_dump failed: {last_lines(errors)}")
    return total


def _write_parts(
    writer: BackupWriter, stream: IO[bytes], *, on_first: Callable[[], None], on_bytes: Callable[[int], None]
) -> int:
    total = number = 0
    while part := stream.read(PART_BYTES):
        if not total:
            on_first()
        number += 1
        total += len(part)
        writer.add(f"{DATABASE_FOLDER}{number:06}.dump", len(part), io.BytesIO(part))
        on_bytes(total)
    return total


def last_lines(errors: IO[bytes]) -> str:
    """Return the end of a program's error output in one line."""
    errors.seek(0)
    return " ".join(errors.read()[-2000:].decode(errors="replace").split()) or "no error output"
