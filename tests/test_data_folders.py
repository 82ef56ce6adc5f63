"""The data folder of a manage.py command: that of the running portal, and never a new one by accident."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.devstack import data_folders, printed_commands
from config.devstack.processes import PROBE_SECONDS, acquire_lock, is_locked, write_json
from tests.processes import TEST_RUN_VARIABLES

RunPortal = Callable[[str], Path]
PIPES: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}


@pytest.fixture
def run_portal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunPortal]:
    """Return a function that holds the lock of a folder and records it, as `manage.py up` does."""
    monkeypatch.setattr(data_folders, "NOTES", tmp_path / "notes")
    monkeypatch.setattr(data_folders, "DEFAULT_FOLDER", tmp_path / "default")
    monkeypatch.setattr(printed_commands, "DEFAULT_FOLDER", tmp_path / "default")
    monkeypatch.delenv("DATA_DIR")
    locks = []

    def run(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        locks.append(acquire_lock(folder / data_folders.UP_LOCK))
        data_folders.record_portal(folder)
        return folder

    yield run
    for lock in locks:
        os.close(lock or 0)


def test_the_only_running_portal_is_found_and_named(run_portal: RunPortal) -> None:
    folder = run_portal("с пробелом и кириллицей")

    assert data_folders.choose_data_dir() == (folder, f"Using the running portal on {folder}.")


def test_a_portal_that_has_ended_is_not_used(run_portal: RunPortal, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    ended.mkdir()
    (ended / data_folders.UP_LOCK).touch()
    data_folders.record_portal(ended)

    chosen, sentence = data_folders.choose_data_dir()

    assert chosen == tmp_path / "default"
    assert sentence == f"Using the data folder {chosen} (no portal is running)."
    run_portal("running")
    assert len(list((tmp_path / "notes").iterdir())) == 1, "the note of the ended portal is deleted"


def test_the_default_folders_portal_comes_first_and_the_other_is_named(run_portal: RunPortal) -> None:
    default, other = run_portal("default"), run_portal("other")

    assert data_folders.choose_data_dir() == (
        default,
        f"Using the portal on {default}. Also running: {other} (set DATA_DIR to use it).",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_program_with_the_pid_of_an_ended_portal_is_not_read(tmp_path: Path) -> None:
    for folder, is_portal in ((tmp_path, True), (tmp_path / "other", False)):
        environment = {"DATA_DIR": str(folder), "DATABASE_URL": "postgres://a@db/okno"}
        program = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], env=environment, **PIPES)
        program.stdout.readline()
        write_json(tmp_path / "stack.json", {"processes": [{"name": "web", "pid": program.pid}]})

        found = data_folders.read_running_environment(tmp_path)
        assert found.get("DATABASE_URL") == ("postgres://a@db/okno" if is_portal else None)

        program.communicate("")


def test_among_several_portals_the_user_must_choose(run_portal: RunPortal) -> None:
    one, two = run_portal("one"), run_portal("two")

    with pytest.raises(data_folders.NoDataFolder, match=f"{one}, {two}. Set DATA_DIR"):
        data_folders.choose_data_dir()


def test_a_named_folder_is_used_without_a_word(run_portal: RunPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    run_portal("other")
    monkeypatch.setenv("DATA_DIR", "relative/../folder")

    assert data_folders.choose_data_dir() == (settings.BASE_DIR / "folder", "")


@pytest.mark.parametrize("words", [["user", "add", "vera", "--role", "admin"], ["shell", "-c", ""], ["showmigrations"]])
def test_an_ordinary_command_creates_no_database(tmp_path: Path, words: list[str]) -> None:
    folder = tmp_path / "опечатка"
    kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}

    refused = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env=kept | {"DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"The data folder {folder} has no database yet. Start a portal with `make up`, or")
    assert f"`DATA_DIR='{folder}' " in refused.stderr and refused.stderr.count("\n") == 1
    assert not folder.exists()


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}

    refused = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=settings.BASE_DIR,
        env=kept | {"DATA_DIR": str(tmp_path / "file" / "var")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert refused.returncode == 2
    assert refused.stderr.startswith("The data folder ") and refused.stderr.count("\n") == 1


def test_a_printed_make_command_repeats_the_variables_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAKEFLAGS as GNU make 4.3 sets it; a value that contains an assignment is no variable."""
    monkeypatch.setenv("MAKEFLAGS", r"w -j2 -- SECRET_KEY=x DEMO=0 PORT=81 SIZE=5 DATA_DIR=/srv/with\ spaces\ PORT=9/a")
    monkeypatch.setenv("DATA_DIR", "/srv/with spaces PORT=9/a")
    monkeypatch.setenv("DEMO", "0")
    monkeypatch.setenv("PORT", "81")

    printed = printed_commands.up_command(PORT="8001")

    assert printed == "make up SECRET_KEY=… DEMO=0 PORT=8001 DATA_DIR='/srv/with spaces PORT=9/a'"


def test_a_printed_command_names_the_folder_unless_it_is_the_default_one(run_portal: RunPortal) -> None:
    default, other = run_portal("default"), run_portal("o'ther")

    assert printed_commands.manage_command(default, "user list").endswith(" manage.py user list")
    assert not printed_commands.manage_command(default, "user list").startswith("DATA_DIR")
    assert printed_commands.manage_command(other, "user list").startswith("DATA_DIR='")


def test_a_check_of_a_lock_does_not_keep_others_from_it(tmp_path: Path) -> None:
    """The program that starts a server looks whether its daemon has the lock, while the daemon takes it."""
    path = tmp_path / "daemon"
    held_by_check = acquire_lock(path)
    assert held_by_check is not None
    ends = threading.Timer(PROBE_SECONDS / 10, os.close, [held_by_check])
    ends.start()
    lock = acquire_lock(path, wait=False)
    ends.join()

    assert lock is not None
    assert is_locked(path)
    assert acquire_lock(path, wait=False) is None
    os.close(lock)
    assert not is_locked(path)
