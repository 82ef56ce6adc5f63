"""docs/reliability.md: a run of one file of fault tests replaces the rows of its tests and keeps the others."""

import json
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


def test_every_file_of_fault_tests_has_an_estimate() -> None:
    found = {path.stem.removeprefix("test_") for path in Path(report.__file__).parent.glob("test_*.py")}
    assert found == set(report.FILES)
