"""CPU time, memory and WAL of the processes under test, by group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
Roots = Mapping[str, Iterable[int]]  # group of processes → processes whose descendants belong to it


def measure_cpu(roots: Roots) -> dict[str, float]:
    """Return the CPU seconds of each group since its start, with children that have ended."""
    return {group: sum(map(_cpu_seconds, pids)) for group, pids in find_processes(roots).items()}


def measure_pss(roots: Roots) -> dict[str, float]:
    """Return the memory of each group in MB. Pages shared by several processes are divided among them."""
    return {group: sum(map(_pss_mb, pids)) for group, pids in find_processes(roots).items()}


def find_processes(roots: Roots) -> dict[str, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat_fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))

    def descend(pid: int) -> Iterator[int]:
        yield pid
        for child in children.get(pid, ()):
            yield from descend(child)

    return {group: [pid for root in pids for pid in descend(root)] for group, pids in roots.items()}


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (state, parent, …)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _cpu_seconds(pid: int) -> float:
    return sum(map(int, _stat_fields(pid)[11:15])) / TICKS  # user and system, of itself and of ended children


def _pss_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def read_wal_position() -> int:
    """Return how many bytes of WAL were ever written."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
        return int(cursor.fetchone()[0])
