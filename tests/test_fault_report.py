"""docs/reliability.md: a run of one file of fault tests replaces the rows of its tests and keeps the others."""

import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults import __main__ as report


def test_a_run_of_one_file_replaces_only_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Old\n| A1 | a | 1 lost | reached | 22 Nov |\n| C31 | b | old | reached | 23 Nov |\n"
        "| test | d | e | f | g |\n| A1 | a row of another table |\n"
    )
    monkeypatch.setattr(report, "PAGE", page)

    def run(command: list[str], environment: dict[str, str], **_more: Any) -> int:
        line = {"number": "C31", "figure": "b", "reached": "new | two\nlines", "verdict": "**not reached**"}
        Path(environment["FAULTS_REPORT"]).write_text(json.dumps(line) + "\n")
        assert command[-2:] == ["-k", "down"] and "tests/faults/test_destinations.py" in command
        return 1

    monkeypatch.setattr(report, "run", run)

    assert report.main(["destinations", "-k", "down"]) == 1
    first, second = report.read_rows()
    assert first == ["A1", "a", "1 lost", "reached", "22 Nov"]
    assert second[:4] == ["C31", "b", "new / two lines", "**not reached**"] and "load" in second[4]


def test_files_run_at_once_each_write_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (page := tmp_path / "page.md").write_text("")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "OUTPUT", tmp_path)
    monkeypatch.setenv("LANES", "2")
    both = threading.Barrier(2, timeout=10)  # breaks unless two run at once
    started: list[str] = []

    def run(command: list[str], environment: dict[str, str], **options: Any) -> int:
        name = options["output"].stem
        started.append(name)
        if name != "chain":
            both.wait()
        line = {"number": {"crash": "A1", "races": "B18", "chain": "U1"}[name], "figure": "", "reached": ""}
        Path(environment["FAULTS_REPORT"]).write_text(json.dumps(line | {"verdict": "reached"}) + "\n")
        return int(name == "races")

    monkeypatch.setattr(report, "run", run)

    assert report.main(["chain", "races", "crash"]) == 1
    assert started[-1] == "chain"  # the shortest
    assert [row[0] for row in report.read_rows()] == ["A1", "B18", "U1"]


def test_no_file_begins_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (page := tmp_path / "page.md").write_text("")
    monkeypatch.setattr(report, "PAGE", page)
    started: list[list[str]] = []

    def run(command: list[str], _environment: dict[str, str], **_options: Any) -> int:
        started.append(command)
        return report.INTERRUPTED

    monkeypatch.setattr(report, "run", run)
    assert report.main(["chain", "races"]) == report.INTERRUPTED
    assert len(started) == 1


def test_every_file_of_fault_tests_has_an_estimate() -> None:
    found = {path.stem.removeprefix("test_") for path in Path(report.__file__).parent.glob("test_*.py")}
    assert found == set(report.FILES)


def test_each_fault_test_has_a_number_of_its_own() -> None:
    sources = [path.read_text() for path in Path(report.__file__).parents[1].rglob("test_*.py")]
    numbers = Counter(number for source in sources for number in re.findall(r"mark\.fault\(\s*\"(\w+)\"", source))
    assert len(numbers) > 60
    assert not [number for number, count in numbers.items() if count > 1]
