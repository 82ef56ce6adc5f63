"""Results of the benchmarks: rows of a Markdown table, one JSON line for each figure, and their arithmetic."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def print_row(name: str, result: str, target: str) -> None:
    print(f"| {name} | {target} | {result} |", flush=True)


def get_percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(math.ceil(len(values) * share) - 1, 0)]


def divide_rounds(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Return the ratio of each round. Both sides of a ratio come from the same round, so a slow phase hits both."""
    return [this / that for this, that in zip(these, those, strict=True)]


class Report:
    """Table on the terminal and, with a path, a file of JSON lines. A figure is the median of its rounds."""

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.details = path, list[str]()
        print("| figure | to reach | median | lowest–highest, rounds | load |\n|---|---|---|---|---|", flush=True)

    def add(
        self, figure: str, rounds: Sequence[float], unit: str = "", *, target: str = "", digits: int = 0, note: str = ""
    ) -> float:
        """Record one figure and return its median."""
        median, load = statistics.median(rounds), os.getloadavg()[0]
        space = "" if unit in ("", "/s") else " "
        spread = f"{min(rounds):.{digits}f}–{max(rounds):.{digits}f}, {len(rounds)}"
        result = f"{median:.{digits}f}{space}{unit}{f' ({note})' if note else ''}"
        print(f"| {figure} | {target} | {result} | {spread} | {load:.1f} |", flush=True)
        self._write(figure=figure, median=median, unit=unit, target=target, rounds=list(rounds), load=load, note=note)
        return median

    def print_details(self) -> None:
        """Print what is no figure, after the table."""
        print("\n".join(self.details), flush=True)

    def skip(self, figure: str, reason: str) -> None:
        print(f"| {figure} | | not reached: {reason} | | |", flush=True)
        self._write(figure=figure, skipped=reason)

    def _write(self, **line: Any) -> None:
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"at": int(time.time())} | line, ensure_ascii=False) + "\n")
