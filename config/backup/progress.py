"""Progress of a backup or restore: a line that is rewritten on a terminal, or JSON lines."""

from __future__ import annotations

import json
import time
from typing import Any, TextIO

from django.db import OperationalError
from django.template.defaultfilters import filesizeformat
from django.utils import translation

INTERVAL = 0.5  # seconds between two updates of one stage
LABELS = {"database": "Database", "media": "Files", "verify": "Verified"}


class Progress:
    """Reports stages to people or programs. On a file or pipe, people get a line per finished stage."""

    def __init__(self, stream: TextIO, *, as_json: bool, quiet: bool = False) -> None:
        self._stream, self._as_json, self._quiet = stream, as_json, quiet
        self._is_terminal = not as_json and stream.isatty()
        self._updated = 0.0

    def update(self, stage: str, **figures: int) -> None:
        """Show the figures of a running stage, at most twice a second."""
        now = time.monotonic()
        if self._quiet or now < self._updated + INTERVAL:
            return
        self._updated = now
        if self._as_json:
            self._write_json(stage=stage, state="running", **figures)
        elif self._is_terminal:
            self._stream.write(f"\r\x1b[K{_describe(stage, figures)} …")
            self._stream.flush()

    def finish(self, stage: str, **figures: int) -> None:
        """Show the final figures of a stage."""
        if self._quiet:
            return
        self._updated = 0.0
        if self._as_json:
            self._write_json(stage=stage, state="done", **figures)
        else:
            self.say(_describe(stage, figures))

    def say(self, sentence: str) -> None:
        """Show a sentence to people. Programs get it as a note."""
        if self._quiet:
            return
        if self._as_json:
            self._write_json(note=sentence)
            return
        start = "\r\x1b[K" if self._is_terminal else ""
        self._stream.write(f"{start}{sentence}\n")
        self._stream.flush()

    def report(self, **result: Any) -> None:
        """Write the result for programs."""
        if self._as_json:
            self._write_json(**result)

    def _write_json(self, **line: Any) -> None:
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()


def _describe(stage: str, figures: dict[str, int]) -> str:
    words = [show_bytes(value) if name == "bytes" else f"{value:,} {name}" for name, value in figures.items()]
    return f"{LABELS[stage]:9} {', '.join(words)}"


def describe_problem(problem: Exception) -> str:
    """Return a sentence for the terminal."""
    if isinstance(problem, OperationalError):
        return f"The database cannot be used: {' '.join(str(problem).split())}"
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror}{f': {problem.filename}' if problem.filename else ''}."
    return str(problem)


def show_bytes(count: int) -> str:
    with translation.override("en"):
        return filesizeformat(count).replace("\xa0", " ")
