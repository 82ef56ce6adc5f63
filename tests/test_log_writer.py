"""Logs of `make up`: limited while the processes run, no line lost or torn, a full disk stops nobody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config.devstack import log_writer
from config.devstack.log_writer import RotatedFile, RotatedLogs

WRITE_LINES = """
import os, sys
for number in range(4000):
    os.write(1, (f"{sys.argv[1]} {number:06} " + "x" * (number % 300) + "\\n").encode())
"""


def read_logs(path: Path) -> list[str]:
    """Return the lines of all files of a log, oldest first."""
    files = [path.with_name(f"{path.name}.{number}") for number in range(log_writer.OLD_FILES, 0, -1)]
    return "".join(file.read_text() for file in [*files, path] if file.exists()).splitlines()


def is_gone(pid: int) -> bool:
    """Return whether a process of nobody has ended; a container's init may leave it as a zombie."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


def test_no_line_is_lost_while_files_are_rotated(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    logs = RotatedLogs([path], max_bytes=300_000)
    output = logs.get_output(path)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE_LINES, name], stdout=output) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    logs.close()

    lines = read_logs(path)

    for name in "ab":
        numbers = [line.split(" ")[1] for line in lines if line.startswith(name)]
        assert numbers == [f"{number:06}" for number in range(4000)]
    assert all(len(line) == 9 + int(line.split(" ")[1]) % 300 for line in lines)
    assert len(list(tmp_path.iterdir())) > 3 and path.stat().st_mode & 0o777 == 0o600
    assert all(file.stat().st_size < 300_000 + log_writer.READ_BYTES for file in tmp_path.iterdir())


def test_old_files_are_limited_and_lines_stay_whole(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "web.log", max_bytes=20)

    for number in range(50):
        file.write(f"line {number} be".encode())
        file.write(b"gins and ends\n")

    assert len(list(tmp_path.iterdir())) == 1 + log_writer.OLD_FILES
    assert read_logs(file.path)[-3:] == [f"line {number} begins and ends" for number in (47, 48, 49)]
    assert all(line.endswith("begins and ends") for line in read_logs(file.path))


def test_a_line_without_an_end_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "web.log", max_bytes=20)

    for _number in range(1000):
        file.write(b"endless")

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 6 * 60


def test_what_is_printed_while_the_writer_is_dead_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    logs = RotatedLogs([path])
    os.kill(logs.process.pid, signal.SIGKILL)
    logs.process.wait(20)
    os.write(logs.get_output(path), b"printed meanwhile\n")

    logs.restart_dead_writer()
    logs.close()

    assert path.read_text() == "printed meanwhile\n"


def test_the_writer_outlives_a_killed_supervisor_until_its_children_end(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    supervisor = """
import subprocess, sys
from pathlib import Path
from config.devstack.log_writer import RotatedLogs
logs = RotatedLogs([Path(sys.argv[1])])
child = "import time; time.sleep(0.5); print('last words', flush=True)"
subprocess.Popen([sys.executable, "-c", child], stdout=logs.get_output(Path(sys.argv[1])))
print(logs.process.pid, flush=True)
import os; os.kill(os.getpid(), 9)
"""
    process = subprocess.run([sys.executable, "-c", supervisor, str(path)], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not is_gone(int(process.stdout)) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert path.read_text() == "last words\n"


def test_a_rotation_that_fails_loses_no_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatedFile(tmp_path / "web.log", max_bytes=5)
    for number in range(3):
        file.write(f"line {number}\n".encode())

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        for number in range(3, 9):
            file.write(f"line {number}\n".encode())
    file.write(b"line 9\n")

    assert read_logs(file.path) == [f"line {number}" for number in range(10)]


def test_a_log_that_somebody_deleted_is_created_again(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "web.log", max_bytes=5)
    file.write(b"deleted\n")
    file.path.unlink()

    file.write(b"kept\n")

    assert file.path.read_text() == "kept\n"


def test_a_full_disk_loses_lines_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatedFile(tmp_path / "web.log", max_bytes=1000)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        file.write(b"lost\n")
    file.write(b"kept\n")

    assert file.path.read_text() == "(The log lost 5 bytes: the disk was full.)\nkept\n"
