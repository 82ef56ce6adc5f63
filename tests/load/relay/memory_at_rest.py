"""Memory of `make up` at rest and under load, in a data folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from config.devstack.processes import spawn_process
from tests.load.memory import measure_memory
from tests.load.results import Report
from tests.processes import TEST_RUN_VARIABLES, eventually, free_port

from .stack import PROJECT, Stack, is_listening

SETTLE_SECONDS = 20
BENCHMARK_VARIABLES = (*TEST_RUN_VARIABLES, "WORKER_CONCURRENCY")  # that the portal under test must not see
# Runs in a process of its own, because Django is set up for one database.
ADD_CHANNELS = """
import sys
from config.devstack import environment_setup
environment_setup.prepare_environment(["manage.py", "shell"])
import django
django.setup()
from tests.load.relay.stack import add_channel
phone = add_channel("sandbox")
add_channel("acebot", sys.argv[1], watches=phone)
print(phone.webhook_path)
"""


def measure_memory_of_stack(stack: Stack, report: Report, *, size: int) -> None:
    with tempfile.TemporaryDirectory(prefix="okno-memory-", ignore_cleanup_errors=True) as folder:
        environment = {name: text for name, text in os.environ.items() if name not in BENCHMARK_VARIABLES}
        environment |= {"DATA_DIR": folder, "PORT": str(free_port()), "DJANGO_SETTINGS_MODULE": "config.settings"}
        with _running_portal(environment) as pid:
            time.sleep(SETTLE_SECONDS)
            _report_pss(report, "at rest", pid, target="≤ 550 MB")
            command = [sys.executable, "-c", ADD_CHANNELS, stack.receiver.url("/hook")]
            done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
            stack.relay(done.stdout.split()[-1], size, port=int(environment["PORT"]))
            _report_pss(report, f"after {size} messages", pid)


def _report_pss(report: Report, when: str, pid: int, *, target: str = "") -> None:
    groups = measure_memory(pid)
    note = ", ".join(f"{name} {size:.0f}" for name, size in groups.items() if name != "total")
    report.add(f"PSS of `make up` {when}", [groups["total"]], "MB", target=target, note=note)


@contextmanager
def _running_portal(environment: dict[str, str]) -> Iterator[int]:
    process = spawn_process(
        [sys.executable, "manage.py", "up", "--die-with-parent"],
        on_parent_death=signal.SIGTERM,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: is_listening(int(environment["PORT"])) or process.poll() is not None, seconds=120)
        assert process.poll() is None, "`make up` did not start"
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)
