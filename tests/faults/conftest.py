"""Sizes, the shared stack, and the table of figures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stack import Stack

FULL = os.environ.get("FAULTS") == "full"
SCALE = float(os.environ.get("SCALE", "1"))
SCALES: dict[str, float] = json.loads(os.environ.get("SCALES", "{}"))  # of single tests, by their number
SEED = int(os.environ.get("SEED", "20261122"))
# The product's lease is 60 s. A shorter one saves waiting for deliveries of dead workers.
LEASE = int(os.environ.get("FAULTS_LEASE", "60" if FULL else "5"))


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Return a function ``size(short, full)`` for the number of this run. ``fixed=True``: SCALE does not apply."""
    mark = request.node.get_closest_marker("fault")
    scale = SCALES.get(mark.args[0], SCALE) if mark else SCALE

    def choose(short: int, full: int, *, fixed: bool = False) -> int:
        if not FULL:
            return short
        chosen = full if fixed else max(short, round(full * scale))
        if chosen < full:
            request.node.user_properties.append(("scaled", f"{chosen} of {full}"))
        return min(chosen, full)

    return choose


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that records a measured figure, before the test asserts it."""

    def say(text: str) -> None:
        print(f"measured: {text}")
        request.node.user_properties.append(("measured", text))

    return say


@pytest.fixture
def missing(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that records a part of the figure that was not reached."""
    return lambda text: request.node.user_properties.append(("missing", text))


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Start one stack for all tests. It ends with the last one, because an idle stack still uses the processors."""
    started = Stack(FAULTS_LEASE=str(LEASE))
    yield started
    started.stop()
    if keep := os.environ.get("FAULTS_KEEP"):
        shutil.copytree(started.folder / "logs", keep, dirs_exist_ok=True)
    shutil.rmtree(started.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def gates_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Open the gates when a test ends."""
    yield
    if "stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("stack")
        stack.database.open()
        stack.broker.open()
        stack.receiver.behaviors.clear()
        stack.receiver.judges.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    path = os.environ.get("FAULTS_REPORT")
    done = report.when == "call" or (report.when == "setup" and not report.passed)
    if path and done and (mark := item.get_closest_marker("fault")):
        with Path(path).open("a") as file:
            file.write(json.dumps(line_of(item, report, mark)) + "\n")
    return report


def line_of(item: pytest.Item, report: pytest.TestReport, mark: pytest.Mark) -> dict[str, str]:
    measurements = [text for name, text in item.user_properties if name == "measured"]
    scaled = [text for name, text in item.user_properties if name == "scaled"]
    if report.skipped:
        verdict, reached = "not run", str(report.longrepr[2]).removeprefix("Skipped: ") if report.longrepr else ""
    elif report.failed:
        why = str(getattr(report.longrepr, "reprcrash", report.longrepr)).splitlines()[0][-300:]
        verdict, reached = "**not reached**", "; ".join([*measurements, why])
    else:
        verdict, reached = "reached", "; ".join(measurements)
        if missing := [text for name, text in item.user_properties if name == "missing"]:
            verdict = f"reached in part; **not reached**: {', '.join(missing)}"
        if scaled:
            verdict += f", not at full length ({', '.join(scaled)})"
    return {"number": mark.args[0], "figure": mark.args[1], "reached": reached, "verdict": verdict}
