"""Licenses of all pinned packages, from the metadata of the installed packages."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from .exceptions import Finding

CHECK = "licenses"
# Permissive licenses: use, modification and distribution are allowed, at most with a notice.
ALLOWED = {
    *(
        "MIT",
        "MIT-0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "Apache-2.0",
        "PSF-2.0",
        "ISC",
        "PostgreSQL",
        "0BSD",
        "Unlicense",
    ),
    *(
        "MIT License",
        "BSD License",
        "Apache Software License",
        "Python Software Foundation License",
        "ISC License (ISCL)",
    ),
    *("The Unlicense (Unlicense)", "BSD 3-Clause", "3-Clause BSD License"),
}
PIN = re.compile(r"^[A-Za-z0-9][\w.-]*==[^\\\n]*", re.MULTILINE)  # "cffi==2.1.1 ; marker", without the hashes


def pinned(*requirements: Path) -> list[str]:
    """Return the names of the packages that the files pin for this Python and platform."""
    pins = [Requirement(pin) for path in requirements for pin in PIN.findall(path.read_text())]
    return sorted({pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()})


def license_of(package: str) -> str:
    """Return the license that the package declares: an expression, classifiers or free text; \"\" if none."""
    metadata: Any = importlib.metadata.metadata(package)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    return " OR ".join(classified) or str(metadata.get("License") or "").strip().split("\n")[0]


def is_allowed(declared: str) -> bool:
    """Return whether the license is allowed: any side of an OR, but every side of an AND."""
    text = declared.replace("(", " ").replace(")", " ") if " AND " in declared or " OR " in declared else declared
    choices = [[part.strip() for part in choice.split(" AND ")] for choice in text.split(" OR ")]
    return any(all(part in ALLOWED for part in choice) for choice in choices)


def findings(packages: Iterable[str]) -> list[Finding]:
    found = []
    for package in packages:
        try:
            declared = license_of(package)
        except importlib.metadata.PackageNotFoundError:
            message = "is pinned and not installed, so its license is not known"
            found.append(Finding(check=CHECK, about=package, where=package, message=message))
            continue
        if not is_allowed(declared):
            message = f"license {declared or 'not declared'} is not on the list"
            found.append(Finding(check=CHECK, about=package, where=package, message=message))
    return found
