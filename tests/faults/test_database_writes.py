"""A read-only database: /health/ready is red within 30 s, and green by itself afterwards."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.stack import Shop, Stack
from tests.faults.test_crash import ready

Say = Callable[[str], None]
WITHIN = 30


def seen(stack: Stack, *, red: Callable[[], None], green: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds until ready was red after the fault, and green after its end."""
    ready(stack, wanted=200, seconds=60)
    red()
    try:
        turned_red = ready(stack, wanted=503, seconds=WITHIN)
    finally:
        green()
    return turned_red, ready(stack, wanted=200, seconds=60)


@pytest.fixture
def shop(stack: Stack) -> Shop:
    return stack.shop()


@pytest.mark.fault("A16", "a table of messages is missing: ready red ≤ 30 s, green by itself after")
def test_a_missing_table_is_seen(stack: Stack, shop: Shop, measured: Say) -> None:
    red, green = seen(
        stack,
        red=lambda: stack.rows("ALTER TABLE bridge_webhookevent RENAME TO gone") and None,
        green=lambda: stack.rows("ALTER TABLE gone RENAME TO bridge_webhookevent") and None,
    )
    measured(f"red after {red:.0f} s, green after {green:.0f} s")


@pytest.mark.fault("A17", "the database is read-only for new connections: ready red ≤ 30 s, green by itself after")
def test_a_read_only_database_is_seen(stack: Stack, shop: Shop, measured: Say) -> None:
    name = stack.one("SELECT current_database()")

    def set_to(value: str) -> None:
        stack.rows(f'SET TRANSACTION READ WRITE; ALTER DATABASE "{name}" {value}')

    red, green = seen(
        stack,
        red=lambda: set_to("SET default_transaction_read_only = on"),
        green=lambda: set_to("RESET default_transaction_read_only"),
    )
    measured(f"red after {red:.0f} s, green after {green:.0f} s")


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a small file system for the portal. Needs root."""
    with tempfile.TemporaryDirectory(prefix="okno-disk-") as folder:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "tmpfs", folder])
        if made.returncode:
            pytest.skip("only root can mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def fill(disk: Path) -> Path:
    """Fill the disk to the last block."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return ballast


@pytest.mark.fault("A18", "the database's disk is full: ready red ≤ 30 s, green by itself once there is room")
def test_a_full_disk_is_seen(monkeypatch: pytest.MonkeyPatch, measured: Say) -> None:
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    with small_disk(600) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        stack = Stack(MIN_FREE_DISK_MB="0")  # the disk is small on purpose
        monkeypatch.undo()
        try:
            ballast: list[Path] = []
            red, green = seen(
                stack,
                red=lambda: ballast.append(fill(disk)),
                green=lambda: [file.unlink() for file in ballast] and None,
            )
        finally:
            stack.stop()
    measured(f"red after {red:.0f} s, green after {green:.0f} s")
