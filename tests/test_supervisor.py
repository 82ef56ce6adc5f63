"""Restart of processes that end: at once after a clean exit, with growing pauses after crashes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.devstack.processes import is_stopped
from config.devstack.supervisor import ManagedProcess, Supervisor


@pytest.fixture
def ended(tmp_path: Path) -> Callable[..., ManagedProcess]:
    """Build a process that has ended with this code, this many seconds after its start."""

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


def test_what_keeps_dying_is_started_later_and_later(ended: Callable[..., ManagedProcess]) -> None:
    managed = ended(3, lived=2)
    first = managed.pause
    managed = ended(3, lived=2, managed=managed)

    assert (first, managed.pause) == (1, 2)


def test_what_somebody_ended_is_started_again_at_once(ended: Callable[..., ManagedProcess]) -> None:
    managed = ended(3, lived=2)
    managed = ended(0, lived=2, managed=managed)

    assert managed.pause == 0


def test_what_ends_as_soon_as_it_is_started_is_not_started_in_a_circle(ended: Callable[..., ManagedProcess]) -> None:
    assert ended(0, lived=0.1).pause == 1


def test_a_stopped_web_parent_is_replaced(tmp_path: Path) -> None:
    command = ["python", "-c", "import time; time.sleep(600)"]
    web = ManagedProcess(name="web", command=command, log=tmp_path / "web.log", port=1)
    said: list[str] = []
    supervisor = Supervisor(data_dir=tmp_path, processes=[web], servers=None, say=said.append)
    web.start()
    assert web.process is not None
    supervisor.replace_stopped_web()
    os.kill(web.process.pid, signal.SIGSTOP)
    while not is_stopped(web.process.pid):
        time.sleep(0.01)

    supervisor.replace_stopped_web()
    assert not said
    supervisor.replace_stopped_web()

    assert web.process.wait(20) == -signal.SIGKILL
    assert said == ["web is stopped; replacing it."]
