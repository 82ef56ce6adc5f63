"""Accepted findings: each has its subject, the reason for accepting it, and a date."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("exceptions.toml")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding of a check. ``about``: the stable text that an exception refers to, without line numbers."""

    check: str
    about: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class Exceptions:
    """The accepted findings of every check, and which of them matched."""

    accepted: dict[tuple[str, str], dict[str, Any]]
    met: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path = FILE) -> Exceptions:
        """Read the exceptions. Raise ValueError if one has no reason or no date."""
        accepted = {}
        for entry in tomllib.loads(path.read_text()).get("exception", []):
            if not isinstance(entry.get("since"), date) or len(str(entry.get("why", "")).split()) < 4:
                raise ValueError(f"An exception needs `since` (a date) and `why` (a sentence): {entry}")
            for about in entry["about"] if isinstance(entry["about"], list) else [entry["about"]]:
                accepted[entry["check"], about] = entry
        return cls(accepted)

    def not_accepted(self, findings: Iterable[Finding]) -> list[Finding]:
        left = []
        for finding in findings:
            key = (finding.check, finding.about)
            if key in self.accepted:
                self.met.add(key)
            else:
                left.append(finding)
        return left

    def unused(self, checks: Iterable[str]) -> list[str]:
        """Return exceptions of these checks that matched no finding."""
        ran = set(checks)
        return [
            f"{check}: {about}" for check, about in self.accepted if check in ran and (check, about) not in self.met
        ]
