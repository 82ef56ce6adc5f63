"""The data folder is its owner's alone, also one that an earlier version made."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config import file_permissions
from config.file_permissions import restrict_permissions

OLD_FILES = ("media/inbound/1/photo.jpg", "logs/web.log", "postgres/server.log", "valkey/valkey.conf", "up.json")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in (folder, *folder.rglob("*")) if mode(path) & 0o077]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data folder as an earlier version left it."""
    folder = tmp_path / "var"
    for name in OLD_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_an_older_folder_is_corrected(old: Path) -> None:
    restrict_permissions(old)

    assert open_to_others(old) == []
    assert mode(old / "media/inbound/1/photo.jpg") == 0o600 and mode(old / "media/inbound") == 0o700


def test_a_correct_folder_is_not_walked_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restrict_permissions(old)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda _folder: pytest.fail("walked"))

    restrict_permissions(old)


def test_a_correction_that_was_cut_off_is_done_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(file_permissions, "_restrict_tree", lambda _folder: (_ for _ in ()).throw(KeyboardInterrupt))
        restrict_permissions(old)

    restrict_permissions(old)

    assert open_to_others(old) == []


def test_folders_that_are_closed_already_are_not_walked(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the data folder itself has to stay open, each command would walk a million files."""
    old.chmod(0o1777)
    restrict_permissions(old)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda _folder: pytest.fail("walked"))

    restrict_permissions(old)


def test_a_folder_of_somebody_else_is_not_walked(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted folder of another user stays open whatever we do."""
    monkeypatch.setattr(file_permissions.os, "geteuid", lambda: os.getuid() + 12_345)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda folder: pytest.fail(f"walked {folder}"))

    restrict_permissions(old)


def test_a_folder_is_closed_after_what_is_in_it(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(file_permissions.os, "chmod", lambda path, _mode: closed.append(os.fspath(path)))

    restrict_permissions(old)

    assert closed.index(str(old / "media/inbound/1/photo.jpg")) < closed.index(str(old / "media/inbound/1"))
    assert closed.index(str(old / "media/inbound/1")) < closed.index(str(old / "media"))
    assert closed[-1] == str(old)


def test_a_folder_that_serves_others_too_stays_open_and_what_is_ours_in_it_does_not(old: Path) -> None:
    old.chmod(0o1777)
    (old / "theirs.txt").write_text("x")
    (old / "theirs.txt").chmod(0o644)

    restrict_permissions(old)

    assert open_to_others(old) == [".", "theirs.txt"]
    assert mode(old) == 0o1777


def test_links_lead_nowhere(old: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    outside.chmod(0o644)
    (old / "media" / "link").symlink_to(outside)
    (old / "media" / "broken").symlink_to(tmp_path / "nothing")

    restrict_permissions(old)

    assert mode(outside) == 0o644


def test_the_databases_own_files_are_its_own_business(old: Path) -> None:
    data = old / "postgres" / "data-18" / "base"
    data.mkdir(parents=True)
    data.chmod(0o750)

    restrict_permissions(old)

    assert mode(data) == 0o750


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_server_that_runs_as_nobody_still_reaches_its_folder(old: Path) -> None:
    os.chown(old / "postgres", 65534, 65534)

    restrict_permissions(old)

    assert mode(old) == 0o711


def test_no_folder_yet_is_no_trouble(tmp_path: Path) -> None:
    restrict_permissions(tmp_path / "none")


def test_a_command_writes_for_its_owner_alone(tmp_path: Path) -> None:
    """The real thing: secrets, state files, embedded servers' folders and an export, under the usual umask."""
    program = (
        "import os, sys; os.umask(0o022); from pathlib import Path; from config.devstack import environment_setup;"
        "environment_setup.attach_servers = lambda **_: sys.exit(0) if Path('export.json').write_text('x') else None;"
        "os.chdir(sys.argv[1]); environment_setup.prepare_environment(['manage.py', 'templates', 'export'])"
    )
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "var"), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert open_to_others(tmp_path / "var") == [] and mode(tmp_path / "export.json") == 0o600


def test_the_suites_own_servers_keep_their_folders_closed() -> None:
    folder = Path(os.environ["DATA_DIR"])

    found = [path for name in ("postgres", "valkey") for path in open_to_others(folder / name) if "data-18" not in path]

    assert found == []
