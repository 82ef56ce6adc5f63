"""The data folder is accessible only to its owner, including folders of earlier versions."""

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
def old_folder(tmp_path: Path) -> Path:
    """Create a data folder as an earlier version left it."""
    folder = tmp_path / "var"
    for name in OLD_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_an_older_folder_is_corrected(old_folder: Path) -> None:
    restrict_permissions(old_folder)

    assert open_to_others(old_folder) == []
    assert mode(old_folder / "media/inbound/1/photo.jpg") == 0o600 and mode(old_folder / "media/inbound") == 0o700


def test_a_correct_folder_is_not_scanned_again(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restrict_permissions(old_folder)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda _folder: pytest.fail("walked"))

    restrict_permissions(old_folder)


def test_an_interrupted_correction_is_repeated(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(file_permissions, "_restrict_tree", lambda _folder: (_ for _ in ()).throw(KeyboardInterrupt))
        restrict_permissions(old_folder)

    restrict_permissions(old_folder)

    assert open_to_others(old_folder) == []


def test_the_contents_of_closed_folders_are_not_scanned(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the data folder itself has to stay open, each command would scan a million files."""
    old_folder.chmod(0o1777)
    restrict_permissions(old_folder)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda _folder: pytest.fail("walked"))

    restrict_permissions(old_folder)


def test_another_users_folder_is_not_scanned(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted folder of another user stays open in any case."""
    monkeypatch.setattr(file_permissions.os, "geteuid", lambda: os.getuid() + 12_345)
    monkeypatch.setattr(file_permissions, "_restrict_tree", lambda folder: pytest.fail(f"walked {folder}"))

    restrict_permissions(old_folder)


def test_a_folder_is_closed_after_its_contents(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(file_permissions.os, "chmod", lambda path, _mode: closed.append(os.fspath(path)))

    restrict_permissions(old_folder)

    assert closed.index(str(old_folder / "media/inbound/1/photo.jpg")) < closed.index(
        str(old_folder / "media/inbound/1")
    )
    assert closed.index(str(old_folder / "media/inbound/1")) < closed.index(str(old_folder / "media"))
    assert closed[-1] == str(old_folder)


def test_a_shared_folder_stays_open_and_our_files_in_it_do_not(old_folder: Path) -> None:
    old_folder.chmod(0o1777)
    (old_folder / "theirs.txt").write_text("x")
    (old_folder / "theirs.txt").chmod(0o644)

    restrict_permissions(old_folder)

    assert open_to_others(old_folder) == [".", "theirs.txt"]
    assert mode(old_folder) == 0o1777


def test_links_are_not_followed(old_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    outside.chmod(0o644)
    (old_folder / "media" / "link").symlink_to(outside)
    (old_folder / "media" / "broken").symlink_to(tmp_path / "nothing")

    restrict_permissions(old_folder)

    assert mode(outside) == 0o644


def test_the_databases_own_files_are_left_alone(old_folder: Path) -> None:
    data = old_folder / "postgres" / "data-18" / "base"
    data.mkdir(parents=True)
    data.chmod(0o750)

    restrict_permissions(old_folder)

    assert mode(data) == 0o750


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_server_running_as_nobody_can_still_reach_its_folder(old_folder: Path) -> None:
    os.chown(old_folder / "postgres", 65534, 65534)

    restrict_permissions(old_folder)

    assert mode(old_folder) == 0o711


def test_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    restrict_permissions(tmp_path / "none")


def test_commands_create_files_only_for_their_owner(tmp_path: Path) -> None:
    """With real processes: secrets, state files, local servers' folders and an export, under the usual umask."""
    program = (
        "import os, sys; os.umask(0o022); from pathlib import Path; from config.devstack import environment_setup;"
        "environment_setup.attach_servers = lambda **_: sys.exit(0) if Path('export.json').write_text('x') else None;"
        "os.chdir(sys.argv[1]); environment_setup.prepare_environment(['manage.py', 'migrate'])"
    )
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "var"), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert open_to_others(tmp_path / "var") == [] and mode(tmp_path / "export.json") == 0o600


def test_the_test_servers_keep_their_folders_closed() -> None:
    folder = Path(os.environ["DATA_DIR"])

    found = [path for name in ("postgres", "valkey") for path in open_to_others(folder / name) if "data-18" not in path]

    assert found == []
