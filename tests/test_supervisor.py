"""Restart of processes that end: immediately after a clean exit, with growing pauses after crashes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.devstack.processes import is_stopped
from config.devstack.supervisor import ManagedProcess, Supervisor


@pytest.fixture
def ended_process(tmp_path: Path) -> Callable[..., ManagedProcess]:
    """Build a process that ended with this code, this many seconds after its start."""

    def make(code: int, *, lived: float, managed: ManagedProcess | None = None) -> ManagedProcess:
        managed = managed or ManagedProcess(name="web", command=["python", "-c", ""], log=tmp_path / "web.log")
        managed.command = ["python", "-c", f"raise SystemExit({code})"]
        managed.start()
        assert managed.process is not None
        managed.process.wait(20)
        managed.started_at = time.monotonic() - lived
        managed.reap()
        return managed

    return make


def test_a_crashing_process_is_restarted_with_growing_pauses(ended_process: Callable[..., ManagedProcess]) -> None:
    managed = ended_process(3, lived=2)
    first = managed.pause
    managed = ended_process(3, lived=2, managed=managed)

    assert (first, managed.pause) == (1, 2)


def test_a_stopped_process_is_restarted_immediately(ended_process: Callable[..., ManagedProcess]) -> None:
    managed = ended_process(3, lived=2)
    managed = ended_process(0, lived=2, managed=managed)

    assert managed.pause == 0


def test_a_process_that_ends_at_once_is_not_restarted_in_a_loop(
    ended_process: Callable[..., ManagedProcess],
) -> None:
    assert ended_process(0, lived=0.1).pause == 1


def test_a_stopped_web_parent_is_replaced(tmp_path: Path) -> None:
    command = ["python", "-c", "import time; time.sleep(600)"]
    web = ManagedProcess(name="web", command=command, log=tmp_path / "web.log", port=1)
    messages: list[str] = []
    supervisor = Supervisor(data_dir=tmp_path, processes=[web], servers=None, report=messages.append)
    web.start()
    assert web.process is not None
    supervisor.replace_stopped_web()
    os.kill(web.process.pid, signal.SIGSTOP)
    while not is_stopped(web.process.pid):
        time.sleep(0.01)

    supervisor.replace_stopped_web()
    assert not messages
    supervisor.replace_stopped_web()

    assert web.process.wait(20) == -signal.SIGKILL
    assert messages == ["web is stopped; replacing it."]
