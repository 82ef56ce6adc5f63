"""Restore of a verified backup into an empty portal.

Nothing is written before all checks have passed. The files are copied before the database commits, so an interrupted
restore leaves no rows, and can be repeated: files that are there already are compared and kept.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from bridge.maintenance import erasure
from bridge.maintenance.erasure_log import merge_lines, read_log_id
from config.audit import record
from config.audit.models import Action

from .archives import CHUNK, HashingReader, read_entries
from .creation import stop_on_sigterm
from .database_load import count_other_connections, find_tables_with_rows, open_load
from .manifest import (
    DATABASE_FOLDER,
    MEDIA_FOLDER,
    BackupError,
    Manifest,
    find_key_differences,
    has_same_secret_key,
)
from .postgres_programs import choose_programs, server_version
from .progress import Progress
from .restored_state import build_adaptation, build_preparation
from .verification import MAX_NAMED, SPOOL_BYTES, VerifiedBackup, name_first, verify_backup

RUNNING_SECONDS = 60  # a heartbeat younger than this at the backup: the portal was running


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """Decisions of the admin. Each one that weakens a check has to be made explicitly."""

    portal_was_stopped: bool = False
    with_other_keys: bool = False
    erasure_log: Path | None = None
    without_erasure_log: bool = False


@dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """What was restored."""

    manifest: Manifest
    erased_again: int
    key_differences: list[str]


def restore_backup(source: Path, options: RestoreOptions, *, progress: Progress) -> RestoreResult:
    """Verify the backup, check the target, and restore. Raises BackupError."""
    verified = verify_backup(source, progress=progress)
    manifest = verified.manifest
    differences = check_keys(verified, options)
    check_schema(manifest)
    check_target(verified)
    check_stopped(manifest, options)
    log_lines = choose_erasure_lines(verified, options)
    with stop_on_sigterm():
        merge_lines(log_lines)
        _load(source, verified, options, progress=progress)
        call_command("migrate", verbosity=0, interactive=False)
        record.record_action(Action.CHANGED, "backup", manifest.name, label=manifest.name, details={"restored": True})
        # With another SECRET_KEY the hashes of the log mean nothing; the numbers of the contacts are the same.
        erased = erasure.reapply_erasures(by_number=not has_same_secret_key(manifest.keys))
    return RestoreResult(manifest=manifest, erased_again=len(erased), key_differences=differences)


# --- checks before anything is written -------------------------------------------------------------------


def check_keys(verified: VerifiedBackup, options: RestoreOptions) -> list[str]:
    """Refuse keys other than the backup's, and a manifest that was signed by somebody else."""
    differences = find_key_differences(verified.manifest.keys)
    if differences and not options.with_other_keys:
        raise BackupError(
            f"{' '.join(differences)} Nothing was changed. Set the keys of the portal that made the backup. If they "
            "are lost, --with-other-keys restores without them: enter the secret keys of the channels again."
        )
    if not differences and not verified.is_signed:
        raise BackupError("The backup was changed after it was made: its signature is wrong. Nothing was changed.")
    return differences


def check_schema(manifest: Manifest) -> None:
    """Refuse a backup with migrations that this version of the portal does not have."""
    known = set()
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        known |= {f"{app}.{name}", *(f"{app}.{replaced}" for app, replaced in migration.replaces)}
    if unknown := sorted(set(manifest.migrations) - known):
        raise BackupError(
            f"The backup was made by version {manifest.portal_version}, whose database is newer than this version "
            f"({', '.join(unknown[:MAX_NAMED])}). Nothing was changed. Install that version, or a newer one."
        )
    if server_version() // 10_000 < manifest.server_version // 10_000:
        raise BackupError(
            f"The backup comes from PostgreSQL {manifest.server_version // 10_000}, and this server is older. "
            "Nothing was changed."
        )


def check_target(verified: VerifiedBackup) -> None:
    """Refuse a database with rows, one that is in use, and a media folder with other files."""
    if tables := find_tables_with_rows():
        raise BackupError(
            f"The database is not empty ({name_first(tables)}). Nothing was changed. Restore into a new database."
        )
    if others := count_other_connections():
        raise BackupError(
            f"{others} other connections to the database are open. Nothing was changed. Stop the portal and other "
            "programs that use the database."
        )
    for path in _walk_storage(""):
        if f"{MEDIA_FOLDER}{path}" not in verified.checksums:
            raise BackupError(
                f"The media storage is not empty (it contains {path}). Nothing was changed. Restore into an empty one."
            )


def _walk_storage(folder: str) -> list[str]:
    """Return the stored files below a folder."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return []
    prefix = f"{folder}/" if folder else ""
    found = [f"{prefix}{name}" for name in files]
    for name in folders:
        found += _walk_storage(f"{prefix}{name}")
    return found


def check_stopped(manifest: Manifest, options: RestoreOptions) -> None:
    """Refuse --portal-was-stopped for a backup of a running portal."""
    age = manifest.seconds_since_beat
    if options.portal_was_stopped and age is not None and age < RUNNING_SECONDS:
        raise BackupError(
            f"The portal was running when the backup was made (its last activity was {age:.0f} s before). Nothing was "
            "changed. Leave out --portal-was-stopped."
        )


def choose_erasure_lines(verified: VerifiedBackup, options: RestoreOptions) -> list[str]:
    """Return the lines of the given erasure log and of the backup's. Refuse a log that is not the newest."""
    lines = _read_lines(options.erasure_log) if options.erasure_log else []
    newest = {read_log_id(line) for line in [*lines, *_read_lines(Path(settings.ERASURE_LOG))]}
    in_backup = verified.erasure_log.splitlines()
    is_there = options.erasure_log is not None or Path(settings.ERASURE_LOG).exists()
    is_newest = is_there and newest.issuperset(read_log_id(line) for line in in_backup)
    if not is_newest and not options.without_erasure_log:
        raise BackupError(
            "The newest erasure log is needed, or people who were erased after the backup come back. "
            f"{settings.ERASURE_LOG} {'lacks erasures that the backup knows' if is_there else 'does not exist'}. "
            "Nothing was changed. Give the newest copy with --erasure-log, or --without-erasure-log if nobody was "
            "erased since."
        )
    return [*lines, *in_backup]


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        if path == Path(settings.ERASURE_LOG):
            return []
        raise BackupError(f"There is no erasure log at {path}. Nothing was changed.") from None
    except (OSError, ValueError) as problem:
        raise BackupError(f"The erasure log {path} cannot be read. Nothing was changed.") from problem


# --- writing ---------------------------------------------------------------------------------------------


def _load(source: Path, verified: VerifiedBackup, options: RestoreOptions, *, progress: Progress) -> None:
    manifest = verified.manifest
    programs = choose_programs(at_least=max(manifest.dump_version, server_version() // 10_000))
    connection.close()
    loaded = files = size = 0
    is_loading = True
    with open_load(programs, preparation=build_preparation()) as load:
        for name, content in read_entries(source):
            reader = HashingReader(content)
            if name.startswith(DATABASE_FOLDER):
                load.add_part(reader)
                loaded += reader.size
                progress.update("database", bytes=loaded)
            elif is_loading:
                is_loading = False
                load.finish_dump(build_adaptation(manifest, portal_was_stopped=options.portal_was_stopped))
                progress.finish("database", bytes=loaded, tables=len(manifest.tables), rows=manifest.rows)
            if name.startswith(MEDIA_FOLDER):
                _store_file(name.removeprefix(MEDIA_FOLDER), reader, verified.checksums[name].hex())
                files, size = files + 1, size + reader.size
                progress.update("media", files=files, bytes=size)
            reader.drain()
            if reader.digest != verified.checksums.get(name):
                raise BackupError(f"{name} has changed during the restore. The database was not changed.")
        progress.finish("media", files=files, bytes=size)
        load.commit()


def _store_file(path: str, content: HashingReader, sha256: str) -> None:
    """Store a file under exactly this path, unless it is there already."""
    if default_storage.exists(path):
        with default_storage.open(path, "rb") as file:
            existing = HashingReader(file)
            existing.drain()
        if existing.sha256 != sha256:
            raise BackupError(f"The file {path} exists with other content. The database was not changed.")
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:  # storages of objects rewind what they store
        shutil.copyfileobj(content, spool, CHUNK)
        spool.seek(0)
        stored = default_storage.save(path, File(spool, name=path))
    if stored != path or default_storage.size(path) != content.size:
        raise BackupError(f"The file {path} was not stored completely. The database was not changed.")
