"""F: backups under traffic: nobody waits for them, each is consistent, and what was restored is what was backed up."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from django.conf import settings

from tests.databases import execute_statements
from tests.faults.conftest import FULL, LEASE, SEED
from tests.faults.ledger import check
from tests.faults.provider import FakeProvider
from tests.faults.stack import Stack

Size = Callable[..., int]
Say = Callable[[str], None]

BLOCKED = """
SELECT count(*), max(extract(epoch FROM clock_timestamp() - w.query_start))::float FROM pg_stat_activity w
WHERE EXISTS (SELECT FROM pg_stat_activity b
              WHERE b.pid = ANY(pg_blocking_pids(w.pid)) AND b.application_name = 'okno-backup')
"""


class LockWatch(threading.Thread):
    """Samples which statements wait for a backup, and for how long at most."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.longest, self.samples, self.stopping = url, 0.0, 0, threading.Event()
        self.start()

    def run(self) -> None:
        line = psycopg2.connect(self.url)
        line.autocommit = True
        with line.cursor() as cursor:
            while not self.stopping.wait(0.02):
                cursor.execute(BLOCKED)
                ((_count, seconds),) = cursor.fetchall()
                self.longest, self.samples = max(self.longest, seconds or 0.0), self.samples + 1
        line.close()

    def stop(self) -> None:
        self.stopping.set()
        self.join()


def manage(environment: dict[str, str], *arguments: str) -> dict[str, object]:
    """Run a command, and return the last line of its JSON output."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments, "--output", "json"],
        cwd=settings.BASE_DIR,
        env={**environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def restore(stack: Stack, archive: str, folder: Path, name: str) -> dict[str, object]:
    """Restore into a new database of the same server."""
    url = stack.servers.urls["DATABASE_URL"]
    execute_statements(url, f"CREATE DATABASE {name}")
    target = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    (folder / name).mkdir()
    environment = {**stack.environment, "DATABASE_URL": target, "DATA_DIR": str(folder / name)}
    result = manage(environment, "restore", archive, "--without-erasure-log")
    execute_statements(url, f"DROP DATABASE {name} WITH (FORCE)")
    return result


@pytest.mark.skipif(not FULL, reason="The suite has tests/test_backup_drill.py.")
@pytest.mark.fault(
    "F1", "backups one after another at 50 messages/s: 0 lost, no statement waits > 100 ms for one, each restores whole"
)
def test_backups_under_traffic_block_nobody_and_restore(
    stack: Stack, tmp_path: Path, size: Size, measured: Say
) -> None:
    shop = stack.shop()
    provider = FakeProvider(stack, shop, seed=SEED + 91)
    count = size(100, 9_000)
    environment = {**stack.environment, "MIN_FREE_DISK_MB": "0"}
    driving = threading.Thread(target=provider.drive, kwargs={"count": count, "rate": 50})
    watch = LockWatch(stack.servers.urls["DATABASE_URL"])
    driving.start()
    made, slowest = [], 0.0
    while driving.is_alive() or not made:
        began = time.monotonic()
        made.append(str(manage(environment, "backup", str(tmp_path / "backups"))["path"]))
        slowest = max(slowest, time.monotonic() - began)
    driving.join()
    watch.stop()
    stack.quiesce(shop, seconds=LEASE + 120)

    restored = [restore(stack, path, tmp_path, f"restored_{number}") for number, path in enumerate(made)]
    ledger = check(stack, provider)
    measured(
        f"{len(made)} backups, slowest {slowest:.1f} s, {restored[-1]['rows']} rows in the last; longest wait for one "
        f"{watch.longest * 1000:.0f} ms ({watch.samples} samples); web p99 {provider.percentile(0.99):.2f} s; "
        f"{ledger.words}"
    )
    assert not ledger.complaints
    assert watch.longest <= 0.1
