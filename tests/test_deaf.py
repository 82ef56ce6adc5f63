"""A worker that runs but hears nothing is started again."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from bridge.models import Heartbeat
from config.devstack.supervisor import DEAF_SECONDS, Part, Supervisor
from config.monitoring import health


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Part]:
    part = Part(name="worker", command=[sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log")
    part.start()
    yield part
    part.stop()
    part.wait(time.monotonic() + 5)


def supervisor(worker: Part, tmp_path: Path, *, is_deaf: bool, said: list[str]) -> Supervisor:
    return Supervisor(data_dir=tmp_path, parts=[worker], servers=None, say=said.append, is_deaf=lambda: is_deaf)


def test_a_deaf_worker_is_started_again_and_it_is_said(worker: Part, tmp_path: Path) -> None:
    said: list[str] = []
    assert worker.process
    first = worker.process.pid
    worker.started_at -= DEAF_SECONDS + 1
    watch = supervisor(worker, tmp_path, is_deaf=True, said=said)

    watch.tend_the_deaf()
    assert worker.process
    worker.process.wait(10)
    watch.tend_parts()
    worker.start_again_at = 0
    watch.tend_parts()

    assert worker.process and worker.process.pid != first
    assert "two minutes" in said[0]


@pytest.mark.parametrize(("is_deaf", "age"), [(False, DEAF_SECONDS + 1), (True, 1)])
def test_one_that_hears_or_has_just_begun_is_left_alone(
    worker: Part, tmp_path: Path, is_deaf: bool, age: float
) -> None:
    said: list[str] = []
    worker.started_at -= age

    supervisor(worker, tmp_path, is_deaf=is_deaf, said=said).tend_the_deaf()

    assert worker.process and worker.process.poll() is None
    assert said == []


@pytest.mark.django_db
@pytest.mark.parametrize(("silent_for", "deaf"), [(10, False), (DEAF_SECONDS + 5, True)])
def test_heartbeats_tell_who_is_deaf(silent_for: int, deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(health.connection), "close", lambda self: None, raising=False)
    for name in ("inbound", "outbound"):
        Heartbeat.objects.create(name=name, at=timezone.now() - timedelta(seconds=silent_for))

    assert health.is_deaf() is deaf


@pytest.mark.django_db
def test_without_a_broker_nobody_is_called_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(health.connection), "close", lambda self: None, raising=False)
    Heartbeat.objects.create(name="inbound", at=timezone.now() - timedelta(days=1))
    Heartbeat.objects.create(name="outbound", at=timezone.now() - timedelta(days=1))
    monkeypatch.setattr(health.settings, "REDIS_URL", "redis://127.0.0.1:9/0", raising=False)

    assert health.is_deaf() is False
