"""A finding of `manage.py doctor`, and where checks are registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"  # something does not work, or data is at risk
    WARNING = "warning"  # something will not work, or is unsafe
    NOTE = "note"  # worth to know; needs no action


@dataclass(frozen=True)
class Finding:
    """What is wrong, and what to do. The code is stable: programs and docs/commands.md use it."""

    code: str
    severity: Severity
    problem: str
    action: str = ""


CheckFunction = Callable[[], Iterable[Finding]]


def error(code: str, problem: str, action: str) -> Finding:
    return Finding(code, Severity.ERROR, problem, action)


def warning(code: str, problem: str, action: str) -> Finding:
    return Finding(code, Severity.WARNING, problem, action)


def note(code: str, problem: str, action: str = "") -> Finding:
    return Finding(code, Severity.NOTE, problem, action)
