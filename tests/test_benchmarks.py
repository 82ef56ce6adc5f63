"""Arithmetic of the benchmarks (tests/load)."""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import pytest
from django.db import connection

from config.devstack.processes import kill_process_group, spawn_process
from tests.load.bench_relay import run_parts
from tests.load.relay import one_process, throughput
from tests.load.relay.stack import Stack
from tests.load.relay.usage import has_session, list_unsafe_settings, measure_cpu
from tests.load.results import Report, divide_rounds, get_percentile
from tests.load.wire import PostReceiver, post_all
from tests.processes import eventually


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.95, 10), (0.99, 10), (1.0, 10)]
)
def test_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    assert get_percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert get_percentile([7.5], 0.99) == 7.5


def test_ratios_are_formed_within_a_round() -> None:
    assert divide_rounds([100, 50], [10, 5]) == [10, 10]

    with pytest.raises(ValueError):
        divide_rounds([100], [10, 5])


def test_report_writes_a_row_and_a_line_per_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(tmp_path / "bench.jsonl")

    median = report.add("end to end", [3, 1, 2], "/s", target="≥ 2", note="quiet")
    report.skip("public package", "no package index")

    lines = [json.loads(line) for line in (tmp_path / "bench.jsonl").read_text().splitlines()]
    assert median == 2
    assert lines[0] | {"at": 0, "load": 0} == {
        **{"at": 0, "figure": "end to end", "median": 2, "unit": "/s", "target": "≥ 2", "rounds": [3, 1, 2]},
        **{"load": 0, "note": "quiet"},
    }
    assert lines[1]["skipped"] == "no package index"
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows[0].startswith("| end to end | ≥ 2 | 2/s (quiet) | 1–3, 3 | ")
    assert rows[1] == "| public package | | not reached: no package index | | |"


def test_cpu_counts_all_processes_of_a_group() -> None:
    roots = {"tests": [os.getpid()], "gone": [2**22 + 1]}

    before = measure_cpu(roots)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    after = measure_cpu(roots)

    assert 0.03 <= after["tests"] - before["tests"] < 5
    assert before["gone"] == after["gone"] == 0


@pytest.mark.django_db
def test_benchmark_finds_settings_without_durability() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")
        assert "synchronous_commit" not in list_unsafe_settings()
        cursor.execute("SET LOCAL synchronous_commit = off")

    assert "synchronous_commit" in list_unsafe_settings()


@pytest.mark.django_db
def test_benchmark_sees_when_a_process_is_connected() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL application_name = 'bench-test'")

    assert has_session("bench-test") and not has_session("bench-other")


def test_sender_and_receiver_agree_about_each_message() -> None:
    receiver = PostReceiver()
    try:
        sent = post_all(receiver.port, "/hook", name="n", count=50, lines=4, rate=1_000)
        arrivals = receiver.pop_arrivals()
    finally:
        receiver.stop()

    assert sent.statuses == {200: 50} and len(sent.took()) == 50
    assert len({stamp for _arrived, stamp in arrivals}) == len(arrivals) == 50
    assert all(sent.began - 0.001 <= stamp <= arrived for arrived, stamp in arrivals)
    assert sent.seconds >= 0.045  # 50 messages at 1,000/s


def test_suspended_processes_do_nothing() -> None:
    stack = Stack.__new__(Stack)  # without servers and a receiver
    worker = spawn_process(["sleep", "60"], on_parent_death=signal.SIGKILL)
    stack.processes = {"worker": worker}

    def read_state() -> str:
        return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0]

    try:
        with stack.suspended("worker"):
            eventually(lambda: read_state() == "T", seconds=5)
        eventually(lambda: read_state() == "S", seconds=5)
    finally:
        kill_process_group(worker)
        worker.wait()


class FakeStack:
    """Stack without processes."""

    def __init__(self) -> None:
        self.processes: dict[str, object] = {}

    def start_web(self) -> None:
        self.processes["web"] = object()

    def stop(self) -> None:
        self.processes.clear()

    def read_log_end(self) -> str:
        return "log of the processes"


def test_part_that_fails_says_why_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = argparse.Namespace(parts="intake,process", rounds=1, size=200, full=False, public_python="")
    ran = []

    def fail(*_: object, **__: object) -> None:
        raise TimeoutError("not done after 60 s")

    def note(stack: FakeStack, *_: object, **__: object) -> None:
        ran.append("web" in stack.processes)

    monkeypatch.setattr(throughput, "measure_intake", fail)
    monkeypatch.setattr(one_process, "measure_one_process", note)

    failed = run_parts(FakeStack(), Report(), given)  # type: ignore[arg-type]

    printed = capsys.readouterr()
    assert failed == ["intake"] and ran == [True]  # with new processes
    assert "| part intake | | not reached: TimeoutError: not done after 60 s | | |" in printed.out
    assert "log of the processes" in printed.err
