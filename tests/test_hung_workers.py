"""A running worker that receives no tasks is restarted."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from bridge.models import Heartbeat
from config.devstack.supervisor import ManagedProcess, Supervisor
from config.devstack.web_probe import HUNG_SECONDS, RECOVERY_SECONDS, are_workers_hung, is_every_worker_silent
from config.monitoring import health
from tests.processes import free_port


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[ManagedProcess]:
    managed = ManagedProcess(
        name="worker", command=[sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log"
    )
    managed.start()
    yield managed
    managed.stop()
    managed.wait(time.monotonic() + 5)


def supervisor(worker: ManagedProcess, tmp_path: Path, *, are_workers_hung: bool, messages: list[str]) -> Supervisor:
    return Supervisor(
        data_dir=tmp_path,
        processes=[worker],
        servers=None,
        report=messages.append,
        are_workers_hung=lambda: are_workers_hung,
    )


def test_a_hung_worker_is_restarted_and_logged(worker: ManagedProcess, tmp_path: Path) -> None:
    messages: list[str] = []
    assert worker.process
    first = worker.process.pid
    worker.started_at -= HUNG_SECONDS + 1
    watch = supervisor(worker, tmp_path, are_workers_hung=True, messages=messages)

    watch.restart_hung()
    assert messages == [] and watch.hung_since
    watch.hung_since -= RECOVERY_SECONDS
    watch.restart_hung()
    assert worker.process
    worker.process.wait(10)
    watch.restart_dead()
    worker.start_again_at = 0
    watch.restart_dead()

    assert worker.process and worker.process.pid != first
    assert "two minutes" in messages[0]


def test_workers_have_time_for_a_heartbeat_after_an_outage(worker: ManagedProcess, tmp_path: Path) -> None:
    """The check and the broker's return may fall together, before any worker has connected again."""
    messages: list[str] = []
    worker.started_at -= HUNG_SECONDS + 1
    watch = supervisor(worker, tmp_path, are_workers_hung=True, messages=messages)

    watch.restart_hung()
    assert watch.hung_since
    watch.hung_since -= RECOVERY_SECONDS
    watch.are_workers_hung = lambda: False  # gone again, or heard
    watch.restart_hung()
    watch.are_workers_hung = lambda: True
    watch.restart_hung()

    assert messages == []


@pytest.mark.parametrize(("are_workers_hung", "age"), [(False, HUNG_SECONDS + 1), (True, 1)])
def test_a_responsive_or_new_worker_is_not_restarted(
    worker: ManagedProcess, tmp_path: Path, are_workers_hung: bool, age: float
) -> None:
    messages: list[str] = []
    worker.started_at -= age

    supervisor(worker, tmp_path, are_workers_hung=are_workers_hung, messages=messages).restart_hung()

    assert worker.process and worker.process.poll() is None
    assert messages == []


@pytest.mark.django_db
@pytest.mark.parametrize(("silent_for", "hung"), [(10, False), (HUNG_SECONDS + 5, True)])
def test_heartbeats_show_which_worker_is_hung(silent_for: int, hung: bool) -> None:
    for name in ("inbound", "outbound"):
        Heartbeat.objects.create(name=name, at=timezone.now() - timedelta(seconds=silent_for))

    assert is_every_worker_silent(health.check_components()) is hung


@pytest.mark.django_db
def test_without_a_broker_no_worker_counts_as_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("inbound", "outbound"):
        Heartbeat.objects.create(name=name, at=timezone.now() - timedelta(days=1))
    monkeypatch.setattr(health.settings, "REDIS_URL", "redis://127.0.0.1:9/0", raising=False)

    assert is_every_worker_silent(health.check_components()) is False


@pytest.mark.django_db
def test_a_worker_that_has_never_worked_does_not_count_as_hung() -> None:
    assert is_every_worker_silent(health.check_components()) is False


def test_without_an_answer_of_the_web_no_worker_counts_as_hung() -> None:
    assert are_workers_hung(free_port()) is False
