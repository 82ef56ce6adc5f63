"""`make faults`: run every test in its full form and write its rows to docs/reliability.md, file by file.

The rows of a file are written as it ends, so an interrupted run is continued by naming the files that are left:
`make faults ARGS="crash destinations"`. Other words go to pytest (`ARGS="crash -k flushing"`). A row replaces the
earlier row of its test and says when it was measured. SHORT=1 takes an hour; SCALE=0.1 shortens the long tests, and
each row shows what was shortened. SEED=… draws other faults. LANES=4 runs four files at a time, the longest first: most
tests wait for a lease or an outage. Their output is in build/faults/.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "reliability.md"
OUTPUT = PROJECT / "build" / "faults"

# With SHORT=1: of each test's figures so much, 0.3 where it is not named.
SHORT = {
    **dict.fromkeys(("A1", "A9", "A14", "B19", "B22", "B24", "C39", "C40", "D41", "D45", "D46"), 1.0),
    **dict.fromkeys(("A6", "B25", "B30"), 0.5),
    **dict.fromkeys(("A7", "A11", "B29", "C34"), 0.1),
    **dict.fromkeys(("E1", "E2", "E3"), 0.2),
    **{"A8": 0.25, "A15": 0.15, "B18": 0.2, "C31": 0.02, "U1": 0.2, "U2": 0.2, "I1": 0.2, "F1": 0.1},
    **dict.fromkeys(("V1", "V3", "V4"), 0.1),
}
# Estimated minutes at full length, by the sizes in the tests. The longest run last, in case the run is interrupted.
FILES = {
    "alerts": 14,
    "chain": 8,
    "database_writes": 5,
    "backup": 6,
    "login_flood": 5,
    "senders": 12,
    "races": 20,
    "input": 20,
    "upgrade": 20,
    "framing": 25,
    "engine": 25,
    "meta": 25,
    "destinations": 80,
    "crash": 110,
}
PROPERTIES = "properties"  # the property tests, with twenty times the examples of `make test`; they write no rows
CUT = 124
INTERRUPTED = 2  # of pytest, by Ctrl-C
SHORT_SECONDS = 60 * 60  # then it is cut off
NO_TESTS = 5  # of pytest, if the words after the files choose none of this file
PAGE_LOCK = threading.Lock()
FIELDS = ("number", "figure", "reached", "verdict", "run")


def main(arguments: list[str]) -> int:
    files = list(takewhile(lambda word: word in FILES or word == PROPERTIES, arguments))
    words = arguments[len(files) :]
    if is_short := bool(os.environ.get("SHORT")):
        os.environ |= {"SCALE": "0.3", "SCALES": json.dumps(SHORT), "FAULTS_LEASE": "20"}
    ends = time.monotonic() + SHORT_SECONDS if is_short else None
    chosen = files or ([*FILES] if is_short or words else [*FILES, PROPERTIES])
    lanes = int(os.environ.get("LANES", "1"))
    if lanes > 1:
        chosen.sort(key=estimate_minutes, reverse=True)
    interrupted = threading.Event()

    def run_next(name: str) -> int:
        if interrupted.is_set():
            return CUT
        print(f"{datetime.now(UTC):%H:%M} {name}: about {estimate_minutes(name)} minutes at full length", flush=True)
        seconds = max(ends - time.monotonic(), 1) if ends else None
        code = run_file(name, words, seconds=seconds, output=OUTPUT / f"{name}.log" if lanes > 1 else None)
        if code in (CUT, INTERRUPTED):
            interrupted.set()
        if lanes > 1:
            print(f"{datetime.now(UTC):%H:%M} {name}: ended with {code}", flush=True)
        return code

    codes = [INTERRUPTED]
    with suppress(KeyboardInterrupt), ThreadPoolExecutor(lanes) as pool:  # pytest gets Ctrl-C, too
        codes = list(pool.map(run_next, chosen))
    print("\n".join(table_of(read_rows())))
    return next(filter(None, codes), 0)


def estimate_minutes(name: str) -> int:
    return FILES.get(name, 60)


def run_file(name: str, words: list[str], *, seconds: float | None, output: Path | None = None) -> int:
    """Run one file and write its rows to the page. Return the exit code."""
    start = partial(run, seconds=seconds, output=output)
    if name == PROPERTIES:
        command = [sys.executable, "-m", "pytest", "-n", "2", "tests", "-m", "hypothesis", "--tb=short"]
        return start([*command, *words], {**os.environ, "FAULTS": "full"})
    began, load = datetime.now(UTC), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        environment = os.environ | {"FAULTS": "full", "FAULTS_REPORT": str(report)}
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", f"tests/faults/test_{name}.py"]
        code = start([*command, "--tb=short", "-rN", *words], environment)
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    when = f"{began:%d %b %Y, %H:%M}, load {load:.1f}, lease {os.environ.get('FAULTS_LEASE', '60')} s"
    when += f", SEED={os.environ['SEED']}" if "SEED" in os.environ else ""
    new = [[*(clean(line[field]) for field in FIELDS[:-1]), when] for line in lines]
    if new:
        measured = {row[0] for row in new}
        with PAGE_LOCK:
            PAGE.write_text(page([row for row in read_rows() if row[0] not in measured] + new))
    return 0 if code == NO_TESTS and words else code


def read_rows() -> list[list[str]]:
    """Return the rows of the page."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [row for row in rows if re.fullmatch(r"[A-Z]\d+", row[0]) and len(row) == len(FIELDS)]


def clean(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def run(command: list[str], environment: dict[str, str], *, seconds: float | None, output: Path | None) -> int:
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w") if output else nullcontext() as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends its own processes
        process.wait()
        return CUT


def table_of(rows: list[list[str]]) -> list[str]:
    rows = sorted(rows, key=lambda row: (row[0][0], int(row[0][1:])))
    head = ["| test | figure to reach | reached | verdict | run (UTC) |", "|---|---|---|---|---|"]
    return [*head, *("| " + " | ".join(row) + " |" for row in rows)]


def page(rows: list[list[str]]) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    table = "\n".join(table_of(rows))
    return f"""# Reliability: fault tests and results

`make faults` starts the real processes and servers in a folder of their own, breaks them on purpose, and counts. It
writes this page. A figure that was not reached is marked, with the cause; "not at full length" names what was
shortened. After each run the test compares both ends: every accepted message is stored, every stored message is
delivered once to each destination, a repeat has a known key and the same body, order holds in each conversation, no row
stays leased, there is no HTTP 500, and no log contains a secret, a phone number or a client's text.

The latest rows were measured on {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()},
Python {platform.python_version()}. Everything ran on one machine, including the provider and the receiver. The last
column says when the run of the row's file began, the load at that time, and the lease of a delivery. "Neighbor" is a
healthy destination with the same traffic.

{table}

`make test` runs a short form of each.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
