"""Backups: every kind of damage is found, nothing half-made stays, and a restore refuses before it writes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import tarfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from bridge.maintenance import backup_status, erasure, erasure_log
from bridge.models import Attachment, Heartbeat
from config.backup import creation, postgres_programs, restoration
from config.backup.archives import BackupWriter, FolderWriter, HashingReader
from config.backup.database_load import find_tables_with_rows
from config.backup.manifest import BackupError, find_key_differences, parse_manifest
from config.backup.postgres_programs import PostgresPrograms, choose_programs
from config.backup.progress import Progress
from config.backup.restoration import RestoreOptions
from config.backup.restored_state import build_adaptation, build_preparation
from config.backup.schedule import KeepRules, choose_kept, delete_old_backups, find_backups, run_daily, seconds_until
from config.backup.verification import verify_backup
from config.management.commands import backup
from tests.backups import FILES, build_archive, build_manifest, write_files
from tests.factories import ContactFactory, MessageFactory, vera

QUIET = Progress(io.StringIO(), as_json=False, quiet=True)


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR, settings.MEDIA_ROOT = tmp_path, tmp_path / "media"
    settings.ERASURE_LOG, settings.BACKUP_DIR = str(tmp_path / "erasures.jsonl"), str(tmp_path / "backups")
    return tmp_path


def verify(path: Path) -> Any:
    return verify_backup(path, progress=QUIET)


# --- damage ----------------------------------------------------------------------------------------------


def build_folder(path: Path) -> Path:
    write_files(BackupWriter(FolderWriter(path)))
    return path


@pytest.mark.parametrize("build", [build_archive, build_folder])
def test_an_undamaged_backup_is_verified(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    verified = verify(build(tmp_path / "backup"))

    assert verified.is_signed and verified.manifest.name == "okno-2026-11-29T03-00-00Z"
    assert verified.checksums.keys() == {*FILES, "checksums.sha256", "manifest.json"}


@pytest.mark.parametrize("name", [*FILES, "checksums.sha256", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "append"])
def test_damage_to_any_file_is_found_and_named(tmp_path: Path, name: str, damage: str) -> None:
    path = build_folder(tmp_path / "backup") / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes({"truncate": data[:-1], "empty": b"", "append": data + b"\n"}[damage])

    with pytest.raises(BackupError, match=name):
        verify(tmp_path / "backup")


def test_a_file_that_does_not_belong_to_the_backup_is_found(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "backup")
    (folder / "media" / "more").write_bytes(b"more")

    with pytest.raises(BackupError, match=r"Unexpected files: media/more\."):
        verify(folder)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    kinds: list[Callable[[Path], Any]] = [lambda path: path.symlink_to("/etc/hostname"), os.mkfifo]
    for number, make in enumerate(kinds):
        folder = build_folder(tmp_path / f"backup{number}")
        make(folder / "media" / "more")
        with pytest.raises(BackupError, match="media/more"):
            verify(folder)


def test_a_sparse_entry_of_any_size_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("okno/media/zeros")
        entry.pax_headers = {"GNU.sparse.size": str(1 << 50), "GNU.sparse.numblocks": "0", "GNU.sparse.map": "0,0"}
        tar.addfile(entry)

    with pytest.raises(BackupError, match="unexpected entry"):
        verify(path)


def test_an_archive_cut_off_anywhere_is_found(tmp_path: Path) -> None:
    whole = build_archive(tmp_path / "whole.tar").read_bytes()
    path = tmp_path / "cut.tar"
    end = whole.rindex(b"}\n") + 2  # of the manifest; padding follows
    for length in [*range(0, end, 512), end - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            verify(path)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_outside_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, position: float, bit: int
) -> None:
    path = build_archive(tmp_path_factory.mktemp("flip") / "backup.tar")
    data, checksums = bytearray(path.read_bytes()), verify(path).checksums
    data[int(len(data) * position)] ^= 1 << bit
    path.write_bytes(data)

    with suppress(BackupError):
        assert verify(path).checksums == checksums  # in the padding between files


def test_a_forged_manifest_is_not_restored(folder: Path, settings: Any) -> None:
    keys = build_manifest().keys
    right, settings.SECRET_KEY = settings.SECRET_KEY, "somebody else's key, as long as a real one " * 2
    forged = build_archive(folder / "forged.tar", keys=keys)
    settings.SECRET_KEY = right

    with pytest.raises(CommandError, match="signature is wrong"):
        call_command("restore", str(forged))
    backup_status.save_created(backup_status.BackupStatus(name=build_manifest().name, made_at=NOW, place="-", bytes=1))
    with pytest.raises(CommandError, match="signature is wrong"):
        call_command("verify_backup", str(forged))
    assert (status := backup_status.read_status()) and status.verified_at is None


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_a_manifest_of_anything_is_an_error_message(text: bytes) -> None:
    with pytest.raises(BackupError):
        parse_manifest(text)


# --- refusals before anything is written -----------------------------------------------------------------

pytest_db = pytest.mark.django_db


def refuse(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(BackupError, match=match):
        restoration.restore_backup(path, RestoreOptions(**options), progress=QUIET)


@pytest_db
def test_other_keys_are_refused_and_named(folder: Path, settings: Any) -> None:
    archive = build_archive(folder / "backup.tar")
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    refuse(archive, "FIELD_KEYS lacks 1 of the 1 keys")

    settings.SECRET_KEY = "x" * 60
    refuse(archive, "SECRET_KEY is not the one")


def test_an_added_key_in_front_is_no_difference(settings: Any) -> None:
    keys = build_manifest().keys
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]

    assert find_key_differences(keys) == []


def test_a_manifest_reveals_no_key(settings: Any) -> None:
    text = build_manifest().serialize().decode()

    assert not any(key in text for key in [settings.SECRET_KEY, *settings.FIELD_KEYS])
    assert build_manifest().keys != build_manifest().keys  # salted: equal keys are not recognized


@pytest_db
def test_a_newer_schema_and_a_newer_server_are_refused(folder: Path) -> None:
    newer = build_archive(folder / "newer.tar", migrations=["bridge.0001_initial", "bridge.9999_later"])
    refuse(newer, r"version 0\.1\.0, whose database is newer than this version \(bridge\.9999_later\)")
    refuse(build_archive(folder / "server.tar", server_version=990_001), "comes from PostgreSQL 99")


@pytest_db
def test_a_database_that_was_only_migrated_is_empty() -> None:
    assert find_tables_with_rows() == []


@pytest_db
def test_a_database_with_rows_is_refused(folder: Path) -> None:
    vera()

    refuse(build_archive(folder / "backup.tar"), r"The database is not empty \(accounts_user")


@pytest.mark.django_db(transaction=True)
def test_rows_written_after_the_checks_are_not_replaced() -> None:
    user = vera()
    with connection.cursor() as cursor:
        with pytest.raises(DatabaseError, match="accounts_user has got rows since the checks"):
            cursor.execute(build_preparation())
        cursor.execute("ROLLBACK")

    user.refresh_from_db()


@pytest_db
def test_a_media_storage_with_other_files_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoration, "count_other_connections", lambda: 0)
    default_storage.save("inbound/other", ContentFile(b"other"))

    refuse(build_archive(folder / "backup.tar"), r"not empty \(it contains inbound/other\)")


@pytest_db
def test_a_database_in_use_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoration, "count_other_connections", lambda: 3)

    refuse(build_archive(folder / "backup.tar"), "3 other connections")


@pytest_db
def test_a_backup_of_a_running_portal_is_no_move(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoration, "count_other_connections", lambda: 0)

    refuse(build_archive(folder / "backup.tar"), "The portal was running", portal_was_stopped=True)


@pytest_db
def test_a_missing_or_older_erasure_log_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoration, "count_other_connections", lambda: 0)
    line = '{"id": "6f1b7f0e-3c1e-4b59-9d53-0d3f6f7c9a11", "at": "2026-11-29T00:00:00+00:00", "contact": 1}'
    archive = build_archive(folder / "backup.tar", {**FILES, "erasures.jsonl": f"{line}\n".encode()})
    refuse(archive, "does not exist")
    refuse(archive, "no erasure log at", erasure_log=folder / "none")

    (folder / "erasures.jsonl").write_text("")
    refuse(archive, "lacks erasures that the backup knows")


def test_merging_copies_of_the_erasure_log_keeps_each_line_once(folder: Path) -> None:
    lines = [json.dumps({"id": f"00000000-0000-4000-8000-00000000000{n}", "contact": n}) for n in range(3)]

    assert [erasure_log.merge_lines(lines[:2]), erasure_log.merge_lines([*lines, "damaged", lines[2]])] == [2, 1]
    assert (folder / "erasures.jsonl").read_text().splitlines() == lines


@pytest_db
def test_without_the_secret_key_the_erased_are_found_by_number(folder: Path, settings: Any) -> None:
    contact, other = ContactFactory.create_batch(2)
    erasure_log.append_erasures([contact])
    settings.SECRET_KEY = "another key after the old one was lost " * 2

    assert [receipt.contact_id for receipt in erasure.reapply_erasures(by_number=True)] == [contact.pk]
    other.refresh_from_db()
    assert other.erased_at is None


@pytest.mark.parametrize("backend", ["FileSystemStorage", "InMemoryStorage"])
def test_files_are_stored_under_their_names_in_any_storage(folder: Path, settings: Any, backend: str) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": f"django.core.files.storage.{backend}"}}
    digest = sha256(b"photo").hexdigest()
    for _ in range(2):  # an interrupted restore is repeated
        restoration._store_file("inbound/photo", HashingReader(io.BytesIO(b"photo")), digest)

    assert default_storage.open("inbound/photo").read() == b"photo"
    with pytest.raises(BackupError, match="exists with other content"):
        restoration._store_file("inbound/photo", HashingReader(io.BytesIO(b"other")), sha256(b"other").hexdigest())


def test_a_stopped_portal_keeps_its_queue_and_its_numbers() -> None:
    moved, other = (build_adaptation(build_manifest(), portal_was_stopped=stopped) for stopped in (True, False))

    assert "bridge_delivery" in other and "setval" in other
    assert "bridge_delivery" not in moved and "setval" not in moved and "django_session" in moved


# --- creation --------------------------------------------------------------------------------------------


@pytest_db
@pytest.mark.parametrize("form", [[], ["--as-folder"], ["--without-media"]])
def test_backup_is_private_verified_and_recorded(
    folder: Path, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("backup", *form)

    (path,) = find_backups(folder / "backups").values()
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert verify(path).manifest.media_left_out == ("--without-media" in form)
    status = backup_status.read_status()
    assert status and status.verified_at and status.place == str(path) and not status.is_too_old()
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"Backup    {path} (")


@pytest.mark.django_db(transaction=True)
def test_a_streamed_backup_is_complete() -> None:
    Heartbeat.objects.create(name="beat", at=timezone.now() - timedelta(hours=1))
    Heartbeat.objects.create(name="inbound", at=timezone.now())
    stream = io.BytesIO()
    creation.stream_backup(stream, with_media=True, progress=QUIET)

    manifest = verify_backup(io.BytesIO(stream.getvalue()), progress=QUIET).manifest
    assert manifest.rows > 0
    assert manifest.seconds_since_beat is not None and manifest.seconds_since_beat < 60  # a worker still works


@pytest_db
@pytest.mark.parametrize(
    "problem",
    [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError(32, "Broken pipe"), KeyboardInterrupt()],
)
def test_an_interrupted_backup_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise problem

    monkeypatch.setattr(BackupWriter, "add_checksums", fail)
    expected = CommandError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        call_command("backup")

    assert [path.name for path in (folder / "backups").iterdir()] == [".backup.lock"]
    assert backup_status.read_status() is None


@pytest_db
def test_a_backup_leaves_the_portal_the_disk_space_it_needs(folder: Path, settings: Any) -> None:
    leftover = folder / "backups" / ".okno-2026-11-01T03-00-00Z.tar.partial"
    leftover.parent.mkdir()
    leftover.touch()  # of a killed backup
    settings.MIN_FREE_DISK_MB = 1_000_000_000

    with pytest.raises(CommandError, match="choose another disk with BACKUP_DIR"):
        call_command("backup")
    assert [path.name for path in leftover.parent.iterdir()] == [".backup.lock"]


@pytest_db
def test_a_backup_that_cannot_be_read_back_does_not_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_damage(path: Path, **_: Any) -> None:
        raise BackupError("Damaged files: media/photo.")

    monkeypatch.setattr("config.management.commands.backup.verify_backup", find_damage)
    with pytest.raises(CommandError, match=r"damaged, and is deleted\. Damaged files: media/photo\."):
        call_command("backup", "--keep-daily", "1")

    assert find_backups(folder / "backups") == {} and backup_status.read_status() is None


@pytest.mark.django_db(transaction=True)
def test_a_scheduled_backup_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("server closed the connection\nunexpectedly")

    errors = io.StringIO()
    command = backup.Command(stderr=errors)
    monkeypatch.setattr(command, "back_up", fail)
    connection.ensure_connection()

    assert not command.try_backup("/backups", {})
    assert connection.connection is None
    assert "The database cannot be used: server closed the connection unexpectedly" in errors.getvalue()


@pytest_db
def test_sigterm_ends_a_backup_cleanly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackupWriter, "add_checksums", lambda _: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        call_command("backup")

    assert [path.name for path in (folder / "backups").iterdir()] == [".backup.lock"]


@pytest_db
def test_a_file_deleted_meanwhile_is_not_called_missing(folder: Path) -> None:
    lost = Attachment(message=MessageFactory())
    lost.file.save("photo", ContentFile(b"photo"))
    Path(lost.file.path).unlink()

    assert list(creation._find_missing([lost.file.name, "inbound/deleted"])) == [lost.file.name]


def test_two_backups_into_one_folder_are_refused(folder: Path) -> None:
    (folder / "backups").mkdir()
    with creation.lock_folder(folder / "backups"), pytest.raises(CommandError, match="Another backup"):
        call_command("backup")


def test_the_oldest_programs_that_fit_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [PostgresPrograms(Path(str(version))) for version in (18, 15, 16)]
    monkeypatch.setattr(postgres_programs, "_find_programs", lambda: iter(found))
    monkeypatch.setattr(PostgresPrograms, "version", property(lambda programs: int(programs.folder.name)))

    assert [choose_programs(at_least=version).version for version in (15, 17)] == [15, 18]
    with pytest.raises(BackupError, match=r"PostgreSQL 19 or newer are needed \(found: 15, 16, 18\)"):
        choose_programs(at_least=19)


# --- schedule --------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_the_newest_of_each_day_week_and_month_is_kept() -> None:
    times = [NOW - timedelta(hours=6 * number) for number in range(4 * 200)]
    kept = sorted(choose_kept(times, KeepRules(daily=3, weekly=2, monthly=3)), reverse=True)

    assert [f"{made:%m-%d %H}" for made in kept] == [
        "11-29 12",
        "11-28 18",
        "11-27 18",
        "11-22 18",
        "10-31 18",
        "09-30 18",
    ]
    assert choose_kept(times[:1], KeepRules(daily=1)) == set(times[:1])


def test_only_backups_are_deleted(tmp_path: Path) -> None:
    names = ["okno-2026-11-27T03-00-00Z.tar", "okno-2026-11-28T03-00-00Z", "okno-2026-11-29T03-00-00Z.tar"]
    for name in names:
        (tmp_path / name).mkdir() if name == names[1] else (tmp_path / name).touch()
    for other in ("okno-notes.tar", "database.dump", ".okno-2026-11-26T03-00-00Z.tar.partial"):
        (tmp_path / other).touch()

    deleted = delete_old_backups(tmp_path, KeepRules(daily=1))

    assert [path.name for path in deleted] == names[:2]
    assert (tmp_path / "okno-notes.tar").exists() and (tmp_path / names[2]).exists()


def test_a_daily_backup_runs_at_once_if_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    results = iter([False, True])
    monkeypatch.setattr("config.backup.schedule.time.sleep", waits.append)

    with pytest.raises(StopIteration):
        run_daily("03:00", tmp_path, lambda: next(results))

    assert waits[:2] == [0, 3600] and 0 < waits[2] <= 86_400


@pytest.mark.parametrize(
    ("now", "hours"), [("2026-11-29T23:00", 1), ("2026-11-30T00:00", 24), ("2026-11-30T01:30", 22.5)]
)
def test_the_time_of_day_is_the_portals(settings: Any, now: str, hours: float) -> None:
    settings.TIME_ZONE = "Europe/Moscow"

    assert seconds_until("03:00", now=datetime.fromisoformat(f"{now}+00:00")) == hours * 3600


def test_a_backup_becomes_too_old(folder: Path, settings: Any) -> None:
    made = datetime.now(UTC) - timedelta(hours=49)
    backup_status.save_created(backup_status.BackupStatus(name="a", made_at=made, place="-", bytes=1))
    status = backup_status.read_status()

    assert status and status.is_too_old() and status.verified_at is None
    settings.BACKUP_MAX_AGE_HOURS = 0
    assert not status.is_too_old()
    backup_status.save_verified("another")
    assert backup_status.read_status() == status
    backup_status.save_verified("a")
    assert (verified := backup_status.read_status()) and verified.verified_at
