"""A part of the portal that ends is started again: at once where somebody ended it, later and later where it dies."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.devstack.processes import is_stopped
from config.devstack.supervisor import Part, Supervisor


@pytest.fixture
def ended(tmp_path: Path) -> Callable[..., Part]:
    """A part that has ended with this code, so long after its start."""

    def make(code: int, *, lived: float, part: Part | None = None) -> Part:
        part = part or Part(name="web", command=["python", "-c", ""], log=tmp_path / "web.log")
        part.command = ["python", "-c", f"raise SystemExit({code})"]
        part.start()
        assert part.process is not None
        part.process.wait(20)
        part.started_at = time.monotonic() - lived
        part.bury()
        return part

    return make


def test_what_keeps_dying_is_started_later_and_later(ended: Callable[..., Part]) -> None:
    part = ended(3, lived=2)
    first = part.pause
    part = ended(3, lived=2, part=part)

    assert (first, part.pause) == (1, 2)


def test_what_somebody_ended_is_started_again_at_once(ended: Callable[..., Part]) -> None:
    part = ended(3, lived=2)
    part = ended(0, lived=2, part=part)

    assert part.pause == 0


def test_what_ends_as_soon_as_it_is_started_is_not_started_in_a_circle(ended: Callable[..., Part]) -> None:
    assert ended(0, lived=0.1).pause == 1


def test_a_stopped_web_parent_is_replaced(tmp_path: Path) -> None:
    command = ["python", "-c", "import time; time.sleep(600)"]
    web = Part(name="web", command=command, log=tmp_path / "web.log", port=1)
    said: list[str] = []
    supervisor = Supervisor(data_dir=tmp_path, parts=[web], servers=None, say=said.append)
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
