"""Helpers for tests of backups: small ones made without a database, and the rows of a database as text."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from django.conf import settings

from config.backup.archives import BackupWriter, TarWriter
from config.backup.manifest import DATABASE_FOLDER, ERASURES_NAME, MEDIA_FOLDER, Manifest, fingerprint_keys

MADE = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
FILES = {
    f"{DATABASE_FOLDER}000001.dump": b"PGDMP first part",
    f"{DATABASE_FOLDER}000002.dump": b"second part",
    f"{MEDIA_FOLDER}inbound/2026/11/29/photo": b"photo " * 1_000,
    ERASURES_NAME: b'{"id": "line"}\n',
}


def build_manifest(**changed: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "okno-2026-11-29T03-00-00Z",
        "made_at": MADE.isoformat(),
        "portal_version": "0.1.0",
        "public_url": "https://okno.example",
        "server_version": 150_000,
        "dump_version": 15,
        "migrations": ["bridge.0001_initial"],
        "tables": {"bridge_message": 7},
        "seconds_since_beat": 2.0,
        "keys": fingerprint_keys(),
        "media_files": 1,
    }
    return Manifest(**{**values, **changed})


def write_files(writer: BackupWriter, files: Mapping[str, bytes] = FILES, **changed: Any) -> None:
    for name, data in files.items():
        writer.add_bytes(name, data)
    writer.finish(build_manifest(**changed, checksums_sha256=writer.add_checksums()).serialize())


def build_archive(path: Path, files: Mapping[str, bytes] = FILES, **changed: Any) -> Path:
    stream = io.BytesIO()
    write_files(BackupWriter(TarWriter(stream, name="okno-2026-11-29T03-00-00Z", modified=0)), files, **changed)
    path.write_bytes(stream.getvalue())
    return path


def hash_tables(url: str) -> dict[str, tuple[int, str]]:
    """Return row count and hash of the rows of every table."""
    database = psycopg2.connect(url)
    found = {}
    with database, database.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY 1')  # a name from the catalog
            rows = [row for (row,) in cursor.fetchall()]
            found[table] = len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()
    database.close()
    return found


def find_unlisted(names: Iterable[str]) -> list[str]:
    """Return the entries of a data folder that docs/retention.md does not name. Locks are no data."""
    page = (settings.BASE_DIR / "docs" / "retention.md").read_text()
    return sorted(name for name in names if not name.startswith(".") and f"`{name}`" not in page)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    database = psycopg2.connect(url)
    with database, database.cursor() as cursor:
        cursor.execute(statement)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    database.close()
    return rows
