"""`make faults`: run every test in its full form and write the table to docs/reliability.md.

SHORT=1 takes three quarters of an hour; SCALE=0.1 shortens the long tests. Each row shows what was shortened.
SEED=… draws other faults, `-k A1` and other words go to pytest.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "reliability.md"

# With SHORT=1: of each test's figures so much, 0.3 where it is not named.
SHORT = {
    **dict.fromkeys(("A1", "A9", "A14", "B19", "B22", "B24", "C39", "C40", "D41", "D45", "D46"), 1.0),
    **dict.fromkeys(("A6", "B25", "B30"), 0.5),
    **dict.fromkeys(("A7", "A11", "B29", "C34"), 0.1),
    **{"A8": 0.25, "A15": 0.15, "B18": 0.2, "C31": 0.02, "U1": 0.2, "U2": 0.2},
}
# The longest tests run last, in case the run is interrupted.
FILES = [
    f"tests/faults/test_{name}.py"
    for name in (
        "senders",
        "input",
        "database_writes",
        "framing",
        "login_flood",
        "races",
        "crash",
        "destinations",
        "meta",
        "chain",
    )
]
CUT = 124
SHORT_SECONDS = 44 * 60  # then it is cut off, and the page says so


def main(arguments: list[str]) -> int:
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        if is_short := bool(os.environ.get("SHORT")):
            os.environ |= {"SCALE": "0.3", "SCALES": json.dumps(SHORT), "FAULTS_LEASE": "20"}
        environment = os.environ | {"FAULTS": "full", "FAULTS_REPORT": str(report)}
        load = os.getloadavg()[0]
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *FILES]
        command += ["--tb=short", "-rN", *arguments]
        code = run(command, environment, seconds=SHORT_SECONDS if is_short else None)
        if not arguments and not is_short:  # every "whatever the text", with twenty times the examples of `make test`
            properties = [sys.executable, "-m", "pytest", "-n", "2", "tests", "-m", "hypothesis", "--tb=short"]
            code = run(properties, environment, seconds=None) or code
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    lines.sort(key=lambda line: (line["number"][0], int(line["number"][1:])))
    table = "\n".join(rows(lines))
    print(table)
    if not arguments:
        PAGE.write_text(page(table, began=began, load=load, is_cut=code == CUT))
        print(f"written to {PAGE}")
    return code


def run(command: list[str], environment: dict[str, str], *, seconds: float | None) -> int:
    process = subprocess.Popen(command, cwd=PROJECT, env=environment)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends its own processes
        process.wait()
        return CUT


def rows(lines: list[dict[str, str]]) -> list[str]:
    found = ["| test | figure to reach | reached | verdict |", "|---|---|---|---|"]
    for line in lines:
        cells = (line[name].replace("|", "/").replace("\n", " ") for name in ("number", "figure", "reached", "verdict"))
        found.append("| " + " | ".join(cells) + " |")
    return found


def page(table: str, *, began: datetime, load: float, is_cut: bool) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lease = os.environ.get("FAULTS_LEASE", "60")
    seed, ended = os.environ.get("SEED", "20261122"), datetime.now(UTC)
    cut = (
        f" It was cut off after {SHORT_SECONDS // 60} minutes: tests without a row did not come to run."
        if is_cut
        else ""
    )
    return f"""# Reliability: fault tests and results

`make faults` starts the real processes and servers in a folder of their own, breaks them on purpose, and counts. It
writes this page. A figure that was not reached is marked, with the cause; "not at full length" names what was
shortened. After each run the test compares both ends: every accepted message is stored, every stored message is
delivered once to each destination, a repeat has a known key and the same body, order holds in each conversation, no row
stays leased, there is no HTTP 500, and no log contains a secret, a phone number or a client's text.

One run, from {began:%Y-%m-%d %H:%M} to {ended:%H:%M} UTC, on {os.cpu_count()} cores, {memory:.0f} GB,
{platform.system()} {platform.machine()}, Python {platform.python_version()}; load at the start {load:.1f}; SEED={seed},
lease {lease} s. Everything ran on one machine, including the provider and the receiver.{cut}

{table}

`make test` runs a short form of each.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
