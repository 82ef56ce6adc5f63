"""Creation of a backup: the database first, then the files that its snapshot names.

In this order each file of the snapshot exists unless somebody deletes it meanwhile, because files are stored before
their rows and deleted after them, and never change.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection

from config.audit import record
from config.devstack.processes import acquire_lock
from config.version import VERSION

from .archives import SUFFIX, BackupWriter, TarWriter, open_writer
from .database_dump import Snapshot, dump_database, file_columns, take_snapshot
from .manifest import ERASURES_NAME, MEDIA_FOLDER, BackupError, Manifest, fingerprint_keys
from .postgres_programs import choose_programs, server_version
from .progress import Progress

LOCK_NAME = ".backup.lock"
NAME_FORMAT = "okno-%Y-%m-%dT%H-%M-%SZ"
MAX_MISSING_NAMED = 1_000
CHECK_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class CreatedBackup:
    """A complete backup and its place. `path` is None on standard output."""

    manifest: Manifest
    path: Path | None


def create_backup(folder: Path, *, as_folder: bool, with_media: bool, progress: Progress) -> CreatedBackup:
    """Create a backup in a folder: an archive, or a folder of its own. Raises BackupError and OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    name = now.strftime(NAME_FORMAT)
    path = folder / (name if as_folder else name + SUFFIX)
    with lock_folder(folder), open_writer(path, as_folder=as_folder, modified=now.timestamp()) as writer:
        manifest = _write_backup(writer, name=name, now=now, with_media=with_media, progress=progress)
    return CreatedBackup(manifest=manifest, path=path)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Refuse to work on a folder that another backup or deletion is working on."""
    lock = acquire_lock(folder / LOCK_NAME, wait=False)
    if lock is None:
        raise BackupError(f"Another backup is being written to {folder}.")
    try:
        yield
    finally:
        os.close(lock)


def stream_backup(stream: IO[bytes], *, with_media: bool, progress: Progress) -> CreatedBackup:
    """Write an archive to a stream, such as standard output."""
    now = datetime.now(UTC)
    name = now.strftime(NAME_FORMAT)
    writer = BackupWriter(TarWriter(stream, name=name, modified=now.timestamp()))
    manifest = _write_backup(writer, name=name, now=now, with_media=with_media, progress=progress)
    stream.flush()
    return CreatedBackup(manifest=manifest, path=None)


def _write_backup(writer: BackupWriter, *, name: str, now: datetime, with_media: bool, progress: Progress) -> Manifest:
    version = server_version()
    programs = choose_programs(at_least=version // 10_000)
    with stop_on_sigterm(), take_snapshot() as snapshot:
        # Before the dump leaves the portal, so that no copy of all data is made without a record.
        record.record_export("backup", name, label=name, details={"media": with_media})
        manifest = Manifest(
            name=name,
            made_at=now.isoformat(timespec="seconds"),
            portal_version=VERSION,
            public_url=settings.PUBLIC_URL,
            server_version=version,
            dump_version=programs.version,
            migrations=snapshot.migrations,
            tables=snapshot.tables,
            seconds_since_beat=snapshot.seconds_since_beat,
            keys=fingerprint_keys(),
            media_left_out=not with_media,
        )
        manifest.database_bytes = dump_database(
            writer, snapshot, programs, on_bytes=lambda count: progress.update("database", bytes=count)
        )
        progress.finish("database", bytes=manifest.database_bytes, tables=len(manifest.tables), rows=manifest.rows)
        if with_media:
            _write_media(writer, snapshot, manifest, progress=progress)
        _write_erasure_log(writer, manifest)
        manifest.checksums_sha256 = writer.add_checksums()
        writer.finish(manifest.serialize())
    return manifest


# --- files -----------------------------------------------------------------------------------------------


def _write_media(writer: BackupWriter, snapshot: Snapshot, manifest: Manifest, *, progress: Progress) -> None:
    gone: list[str] = []
    for line in snapshot.paths:
        path = line.decode().rstrip("\n")
        try:
            size, file = default_storage.size(path), default_storage.open(path, "rb")
        except FileNotFoundError:
            gone.append(path)
            continue
        with file:
            writer.add(f"{MEDIA_FOLDER}{path}", size, file)
        manifest.media_files += 1
        manifest.media_bytes += size
        progress.update("media", files=manifest.media_files, bytes=manifest.media_bytes)
    missing = list(_find_missing(gone))
    manifest.media_deleted_meanwhile = len(gone) - len(missing)
    manifest.media_missing = missing[:MAX_MISSING_NAMED]
    progress.finish("media", files=manifest.media_files, bytes=manifest.media_bytes)


def _find_missing(paths: Sequence[str]) -> Iterator[str]:
    """Yield the files that rows still name: they were lost before. The others were deleted during the backup."""
    for start in range(0, len(paths), CHECK_BATCH):
        batch = list(paths[start : start + CHECK_BATCH])
        named: set[str] = set()
        with connection.cursor() as cursor:
            for table, column in file_columns():
                cursor.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" = ANY(%s)', [batch])
                named |= {path for (path,) in cursor.fetchall()}
        yield from (path for path in batch if path in named)


def _write_erasure_log(writer: BackupWriter, manifest: Manifest) -> None:
    path = Path(settings.ERASURE_LOG)
    data = path.read_bytes() if path.exists() else b""
    manifest.erasures = data.count(b"\n")
    writer.add(ERASURES_NAME, len(data), io.BytesIO(data))


# --- signals ---------------------------------------------------------------------------------------------


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl+C raises KeyboardInterrupt, so that nothing half-written stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: Any = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
