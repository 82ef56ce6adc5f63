"""CPU time of the processes under test, by group, and WAL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.load.memory import list_descendants

TICKS = os.sysconf("SC_CLK_TCK")
Roots = Mapping[str, Iterable[int]]  # group of processes → processes whose descendants belong to it


def measure_cpu(roots: Roots) -> dict[str, float]:
    """Return the CPU seconds of each group since its start, with children that have ended."""
    members = {group: [pid for root in pids for pid in list_descendants(root)] for group, pids in roots.items()}
    return {group: sum(map(_cpu_seconds, pids)) for group, pids in members.items()}


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS  # user and system, of itself and of ended children
    return 0.0


def read_wal_position() -> int:
    """Return how many bytes of WAL were ever written."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
        return int(cursor.fetchone()[0])


def has_session(application: str) -> bool:
    """Return whether a process with this application name is connected to PostgreSQL."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = %s)", [application])
        return bool(cursor.fetchone()[0])


def list_unsafe_settings() -> list[str]:
    """Return the settings of PostgreSQL without which a commit may be lost in a crash, if they are off."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE setting = 'off' AND name = ANY(%s) ORDER BY name",
            [["fsync", "full_page_writes", "synchronous_commit"]],
        )
        return [name for (name,) in cursor.fetchall()]
