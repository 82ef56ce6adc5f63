"""Benchmark of the message flow, with its baselines in turns in the same run.

    python -m tests.load.bench_relay [--full] [--parts end,lag] [--rounds 5] [--size 2000] [--data-dir FOLDER]

Servers, web, worker, sender and receiver all run on this machine, with fsync and synchronous commit on. Each figure is
the median of its rounds; a ratio is formed within a round. docs/performance.md explains the figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.load.relay import lag, memory_at_rest, one_process, slow_destination, throughput
from tests.load.relay.public_package import NotInstalled, PublicPackage, find_python
from tests.load.relay.stack import PROJECT, Stack, prepare
from tests.load.results import Report

PARTS = ("intake", "process", "end", "lag", "slow", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="longer rounds, a public package, stages, statements")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)} (all but memory; all with --full)")
    parser.add_argument("--rounds", type=int, help="rounds of each figure (5; 7 with --full)")
    parser.add_argument("--size", type=int, help="messages of a round at saturation (2000; 5000 with --full)")
    parser.add_argument("--data-dir", type=Path, help="existing data folder; channels and tables are added to it")
    parser.add_argument("--json", type=Path, help="file for one JSON line per figure (build/bench-….jsonl)")
    parser.add_argument("--public-python", default="", help="interpreter of an environment with django-webhook")
    given = parser.parse_args()
    given.parts = given.parts or ",".join(PARTS if given.full else PARTS[:-1])
    given.rounds, given.size = given.rounds or (7 if given.full else 5), given.size or (5_000 if given.full else 2_000)
    if unknown := set(given.parts.split(",")) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    folder = given.data_dir.resolve() if given.data_dir else Path(tempfile.mkdtemp(prefix="okno-load-"))
    path = given.json or PROJECT / "build" / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops its own processes too
    prepare(folder)
    stack = Stack(folder)
    try:
        print(f"load at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {given.size} messages a round\n")
        report = Report(path)
        failed = run_parts(stack, report, given)
        report.print_details()
    finally:
        stack.close()
        release_servers()
        if given.data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\nFigures: {path}")
    sys.exit(f"Failed parts: {', '.join(failed)}" if failed else 0)


def run_parts(stack: Stack, report: Report, given: argparse.Namespace) -> list[str]:
    """Run the chosen parts. A part that fails prints why, and the others go on. Return the failed ones."""
    rounds, size, failed = given.rounds, given.size, []
    seconds, our_rate = (5.0 if given.full else 2.0), 0.0

    def end() -> None:
        nonlocal our_rate
        package = find_public_package(stack, report, given.public_python) if given.full else None
        our_rate = throughput.measure_end_to_end(stack, report, rounds=rounds, size=size, package=package)

    parts: dict[str, Callable[[], object]] = {
        "intake": lambda: throughput.measure_intake(stack, report, rounds=rounds, size=size),
        "process": lambda: one_process.measure_one_process(
            stack, report, rounds=rounds, size=max(size // 2, 200), list_statements=given.full
        ),
        "end": end,
        "lag": lambda: lag.measure_lag(
            stack, report, rounds=rounds, seconds=seconds, our_rate=our_rate, stages=given.full
        ),
        "slow": lambda: slow_destination.measure_slow_destination(
            stack, report, rounds=rounds, size=size, seconds=seconds
        ),
        "memory": lambda: memory_at_rest.measure_memory_of_stack(stack, report, size=size),
    }
    for name in PARTS:
        if name not in given.parts.split(","):
            continue
        try:
            if name != "memory" and "web" not in stack.processes:
                stack.start_web()
            if name in ("end", "lag", "slow") and "worker" not in stack.processes:
                stack.start_worker()
            parts[name]()
        except Exception as problem:
            failed.append(name)
            report.skip(f"part {name}", f"{type(problem).__name__}: {problem}")
            print(f"{traceback.format_exc()}\n{stack.read_log_end()}", file=sys.stderr)
            stack.stop()  # the next part starts with new processes
    return failed


def find_public_package(stack: Stack, report: Report, python: str) -> PublicPackage | None:
    try:
        return PublicPackage(find_python(python), stack)
    except NotInstalled as reason:
        report.skip("end to end: public package", str(reason))
        return None


def release_servers() -> None:
    from config.devstack import environment_setup

    if environment_setup.servers is not None:
        environment_setup.servers.release()


if __name__ == "__main__":
    main()
