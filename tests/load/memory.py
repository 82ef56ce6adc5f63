"""Memory of a running portal: PSS by group of processes. Linux only.

    python -m tests.load.memory PID    # of `manage.py up`

The proportional set size counts a page that n processes share as 1/n of a page in each, so the sum is what the portal
really occupies.
"""

import re
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from config.devstack.processes import read_command_line

# Group → what one of its command lines contains; the first match counts.
GROUPS = {
    "logs": "log_writer.py",
    "web": "config.serving.server",
    "worker": "config.celery",
    "beat": "config.beat",
    "daemons": "config.devstack.server_daemon",
    "up": "config.devstack.up",
    "valkey": "valkey-server",
    "postgres": "postgres",
}


def measure_memory(root: int) -> dict[str, float]:
    """Return the PSS in MB of the process and its descendants by group, and their sum as "total"."""
    groups: Counter[str] = Counter()
    for pid in list_descendants(root):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            groups[group_of(pid)] += sum(map(int, re.findall(r"^Pss:\s+(\d+) kB", text, re.M)))
    return {name: round(size / 1024, 1) for name, size in groups.items()} | {"total": round(groups.total() / 1024, 1)}


def group_of(pid: int) -> str:
    line = read_command_line(pid)
    return next((name for name, mark in GROUPS.items() if mark in line), "other")


def list_descendants(root: int) -> list[int]:
    """Return the PIDs of the process, its children, their children and so on."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


if __name__ == "__main__":
    for name, size in measure_memory(int(sys.argv[1])).items():
        print(f"{name:10} {size:7.1f} MB")
