"""`make faults`: every test in its full form, then the table, kept in docs/reliability.md.

SCALE=0.1 shortens what takes long (the table says so), SEED=… draws other faults, `-k A1` and other words go to pytest.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "reliability.md"


def main(arguments: list[str]) -> int:
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        environment = os.environ | {"FAULTS": "full", "FAULTS_REPORT": str(report)}
        load = os.getloadavg()[0]
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/faults", "--tb=short", "-rN", *arguments]
        code = subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    lines.sort(key=lambda line: (line["number"][0], int(line["number"][1:])))
    table = "\n".join(rows(lines))
    print(table)
    if not arguments:
        PAGE.write_text(page(table, began=began, load=load))
        print(f"written to {PAGE}")
    return code


def rows(lines: list[dict[str, str]]) -> list[str]:
    found = ["| test | figure to reach | reached | verdict |", "|---|---|---|---|"]
    for line in lines:
        cells = (line[name].replace("|", "/").replace("\n", " ") for name in ("number", "figure", "reached", "verdict"))
        found.append("| " + " | ".join(cells) + " |")
    return found


def page(table: str, *, began: datetime, load: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lease = os.environ.get("FAULTS_LEASE", "60")
    scale, seed = os.environ.get("SCALE", "1"), os.environ.get("SEED", "20261122")
    return f"""# Reliability: what was proven, and how

`make faults` starts the real processes and servers in a folder of their own, breaks them on purpose, and counts. It
writes this page. A figure that was not reached says so, with the cause; "not at full length" names what was shortened.
After each run on the real processes the ledger is checked: what was accepted is stored, every stored message is
delivered once for each destination, the receiver's keys are the delivered rows, a repeat carries a known key and the
same body, order holds in each conversation, no row stays leased, no HTTP 500, and no log shows a secret, a phone number
or a client's words.

Run of {began:%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()},
Python {platform.python_version()}; load at the start {load:.1f}; SCALE={scale}, SEED={seed}, lease {lease} s;
everything on one machine, the provider, the receiver and the gates included.

{table}

A short form of each runs with every `make test`.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
