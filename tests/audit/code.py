"""Ruff's security rules (S, those of bandit) for the product code. Tests are not shipped, so they are excluded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from .exceptions import Exceptions, Finding

CHECK = "code"
PRODUCT = ("config", "channels_setup", "templates_registry", "bridge", "manage.py")
WHOLE_RULE = re.compile(r"S\d+")


def findings(root: Path, exceptions: Exceptions) -> list[Finding]:
    """Return findings. An exception may name a rule in one file, or a rule in all files."""
    ignored = [about for check, about in exceptions.accepted if check == CHECK and WHOLE_RULE.fullmatch(about)]
    exceptions.met |= {(CHECK, about) for about in ignored}
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "S", "--output-format", "json"]
    command += [f"--ignore={','.join(ignored)}"] if ignored else []
    done = subprocess.run([*command, *PRODUCT], cwd=root, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return [_finding(root, row) for row in json.loads(done.stdout)]


def _finding(root: Path, row: dict[str, Any]) -> Finding:
    name = str(Path(row["filename"]).relative_to(root))
    where = f"{name}:{row['location']['row']}"
    return Finding(check=CHECK, about=f"{row['code']} {name}", where=where, message=f"{row['code']} {row['message']}")
