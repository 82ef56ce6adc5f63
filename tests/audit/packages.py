"""Known vulnerabilities of the pinned packages, and the list of all components (SBOM)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .exceptions import Finding

CHECK = "advisories"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# A release with published vulnerabilities. An index that reports none for it has no advisories, so an empty result for
# our packages proves nothing.
KNOWN_BAD = "django==3.2.0\n"


class NotReached(Exception):
    """The check could not run; the text says why."""


def install_tools(folder: Path) -> Path:
    """Create a virtual environment with the pinned tools, once per list of pins. Return its bin folder."""
    venv, stamp = folder / "venv", folder / "venv.stamp"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(venv / "bin" / "pip"), "install", "-qq", "--require-hashes", "-r", str(REQUIREMENTS)])
        stamp.write_text(REQUIREMENTS.read_text())
    return venv / "bin"


def advisories(tools: Path, folder: Path, requirements: list[Path]) -> list[Finding]:
    """Return known vulnerabilities. Raise NotReached if the index gives no usable answer."""
    probe = folder / "known-bad.txt"
    probe.write_text(KNOWN_BAD)
    if not _vulnerable(tools, probe, "--no-deps"):
        raise NotReached(f"the index knows no vulnerability of {KNOWN_BAD.strip()}, so it has no advisories")
    found = []
    for path in requirements:
        for package in _vulnerable(tools, path, "--require-hashes"):
            for one in package["vulns"]:
                message = f"{one['id']}; fixed in {', '.join(one['fix_versions']) or 'no release yet'}"
                where = f"{package['name']} {package['version']}"
                found.append(Finding(check=CHECK, about=one["id"], where=where, message=message))
    return found


def _vulnerable(tools: Path, path: Path, *options: str) -> list[dict[str, Any]]:
    command = [str(tools / "pip-audit"), "-r", str(path), "--disable-pip", *options]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off", "--timeout", "15"], capture_output=True, text=True
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotReached(_last_line(done.stderr) or "pip-audit gave no answer") from None
    if skipped := [package["name"] for package in packages if "skip_reason" in package]:
        raise NotReached(f"the index says nothing of {', '.join(skipped)}")
    return [package for package in packages if package["vulns"]]


def write_sbom(tools: Path, requirements: Path, target: Path) -> int:
    """Write the SBOM of the product as CycloneDX JSON. Return the number of its components."""
    _run([str(tools / "cyclonedx-py"), "requirements", str(requirements), "--of", "JSON", "-o", str(target)])
    return len(json.loads(target.read_text())["components"])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as problem:
        raise NotReached(f"{Path(command[0]).name} failed: {_last_line(problem.stderr)}") from None


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
