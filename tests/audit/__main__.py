"""`make audit`: run every check, list open findings, and name every check that could not run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from . import code, licenses, packages, secret_scan
from .exceptions import Exceptions, Finding

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "audit"
SHIPPED = ROOT / "requirements.txt"
OPTIONAL = [ROOT / "config" / name / "requirements.txt" for name in ("monitoring", "storage")]
ALL_REQUIREMENTS = [
    *(SHIPPED, *OPTIONAL),
    *(ROOT / "config" / "devstack" / "requirements.txt", ROOT / "tests" / "requirements.txt"),
]


class Report:
    """Collect the findings of each check. Print one line per check with its open findings."""

    def __init__(self, exceptions: Exceptions) -> None:
        self.exceptions = exceptions
        self.ran: list[str] = []
        self.open = 0
        self.unchecked: list[str] = []

    def check(self, name: str, title: str, findings: Callable[[], list[Finding]]) -> None:
        try:
            found = findings()
        except packages.NotReached as problem:
            self.unchecked.append(title)
            print(f"{title}: COULD NOT BE REACHED, so not checked: {problem}")
            return
        self.ran.append(name)
        left = self.exceptions.not_accepted(found)
        accepted = f", {len(found) - len(left)} accepted" if len(found) > len(left) else ""
        print(f"{title}: {f'{len(left)} open' if left else 'clean'}{accepted}")
        for finding in left:
            print(f"  {finding}\n    to accept it: check = {finding.check!r}, about = {finding.about!r}")
        self.open += len(left)

    def finish(self) -> int:
        for unused in self.exceptions.unused(self.ran):
            print(f"an exception that nothing needs any more: {unused}")
            self.open += 1
        if self.unchecked:
            print(f"NOT CHECKED: {', '.join(self.unchecked)}")
        print(f"{self.open} open" if self.open else "nothing open in what was checked")
        return 1 if self.open else 0


def main() -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    report = Report(Exceptions.read())
    report.check(code.CHECK, "Security rules of ruff", lambda: code.findings(ROOT, report.exceptions))
    report.check(secret_scan.CHECK, "Secrets in the tree and in git's history", _secrets)
    report.check(licenses.CHECK, "Licenses", lambda: licenses.findings(licenses.pinned(*ALL_REQUIREMENTS)))
    try:
        tools = packages.install_tools(BUILD)
    except packages.NotReached as problem:
        report.unchecked += ["Known vulnerabilities", "SBOM"]
        print(f"Tools COULD NOT BE REACHED, so nothing known of vulnerabilities, and no SBOM: {problem}")
        return report.finish()
    report.check(
        packages.CHECK,
        "Known vulnerabilities",
        lambda: packages.advisories(tools, BUILD, ALL_REQUIREMENTS),
    )
    report.check("sbom", "SBOM", lambda: _sbom(tools))
    return report.finish()


def _secrets() -> list[Finding]:
    found = [*secret_scan.findings_in(secret_scan.tree(ROOT)), *secret_scan.findings_in(secret_scan.history(ROOT))]
    return list({finding.about: finding for finding in reversed(found)}.values())


def _sbom(tools: Path) -> list[Finding]:
    target = BUILD / "sbom.cdx.json"
    count = packages.write_sbom(tools, SHIPPED, target)
    print(f"{target.relative_to(ROOT)}: {count} components")
    return []


if __name__ == "__main__":
    sys.exit(main())
