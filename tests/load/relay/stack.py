"""Servers, processes, sender and receiver of one run of the benchmark."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.devstack import environment_setup
from config.devstack.processes import is_locked, kill_process_group, spawn_process
from config.devstack.supervisor import web_command, worker_command
from tests.load.limit.relay import APPLICATION
from tests.load.wire import PostReceiver, Sent, post_all
from tests.processes import eventually, free_port

from . import usage

PROJECT = Path(__file__).resolve().parents[3]
CONCURRENCY = 4
WEB_PROCESSES = 2


def prepare(folder: Path) -> None:
    """Start the servers of a data folder, set up Django, and create the tables of the portal and the baselines."""
    if folder.exists() and is_locked(folder / ".up.lock"):
        sys.exit(f"Stop `make up` in {folder} first: its workers would process the benchmark's messages.")
    os.environ |= {"DATA_DIR": str(folder), "DEMO": "0", "DJANGO_SETTINGS_MODULE": "tests.load.settings"}
    os.environ |= {"RELAY_ALLOWED_PRIVATE_CIDRS": "127.0.0.0/8", "WORKER_CONCURRENCY": str(CONCURRENCY)}
    environment_setup.prepare_environment(["manage.py", "migrate"])
    import django
    from django.core.management import call_command

    django.setup()
    from django.db import connection

    from tests.databases import load_tables

    if not connection.introspection.table_names():
        load_tables(os.environ["DATABASE_URL"])
    call_command("migrate", run_syncdb=True, verbosity=0)
    if unsafe := usage.list_unsafe_settings():
        sys.exit(f"PostgreSQL has {', '.join(unsafe)} switched off: the figures would say nothing.")


@dataclass
class Costs:
    """What one measurement used."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)  # seconds by group of processes
    wal: int = 0


@dataclass
class Run:
    """Messages sent and received in one measurement."""

    sent: Sent
    lags: list[float]  # seconds from sending to arrival, in the order of arrival
    arrivals: list[tuple[float, float]]  # (arrived, sent)
    rate: float  # arrivals per second, from the first request to the last arrival
    costs: Costs


class Stack:
    def __init__(self, folder: Path) -> None:
        self.log_path = folder / "bench-processes.log"
        self.receiver, self.port, self.numbers = PostReceiver(), free_port(), itertools.count()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.name = f"{int(time.time()):x}"  # part of the messages' IDs: the data folder may be used again

    # --- Processes ---

    def start_web(self) -> None:
        self.start("web", web_command(host="127.0.0.1", port=self.port, processes=WEB_PROCESSES))
        eventually(lambda: is_listening(self.port), seconds=90)

    def start_worker(self) -> None:
        from config.celery import QUEUES

        self.start("worker", worker_command(queues=QUEUES, concurrency=CONCURRENCY))

    def start_naive_worker(self) -> None:
        command = worker_command(queues=("naive",), concurrency=CONCURRENCY, name="naive")
        command[command.index("config.celery")] = "tests.load.naive.tasks"
        self.start("naive", command)

    def start_limit_relay(self) -> None:
        """Start the relay of the limit design, and wait until it is connected: its start is no part of its speed."""
        self.start("limit", ["python", "-m", "tests.load.limit.relay"])
        eventually(lambda: usage.has_session(APPLICATION), seconds=30)

    def start(self, group: str, command: Sequence[str], *, python: str = sys.executable, **environment: str) -> None:
        with open(self.log_path, "ab") as log:
            self.processes[group] = spawn_process(
                [python, *command[1:]],
                on_parent_death=signal.SIGTERM,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )

    def stop(self, *groups: str) -> None:
        """Stop processes, or all of them."""
        ending = [self.processes.pop(group) for group in groups or list(self.processes) if group in self.processes]
        for process in ending:
            process.terminate()
        for process in ending:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            kill_process_group(process)
            process.wait()

    @contextmanager
    def suspended(self, group: str) -> Iterator[None]:
        """Let the processes of a group do nothing for a while."""
        leader = self.processes[group].pid  # of a process group of its own
        os.killpg(leader, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(leader, signal.SIGCONT)

    def close(self) -> None:
        self.stop()
        self.receiver.stop()

    def read_log_end(self) -> str:
        return self.log_path.read_text(errors="replace")[-1500:] if self.log_path.exists() else ""

    def add_watched_phone(self, path: str = "/hook") -> Any:
        """Return a training phone whose messages are sent to the receiver."""
        phone = add_channel("sandbox")
        add_channel("acebot", self.receiver.url(path), watches=phone)
        return phone

    # --- Measuring ---

    def post(self, path: str, *, port: int | None = None, **job: Any) -> Sent:
        sent = post_all(port or self.port, path, name=f"{self.name}-{next(self.numbers)}", **job)
        assert set(sent.statuses) == {200}, f"{path} answered {sent.statuses}"
        return sent

    def relay(
        self, path: str, count: int, *, rate: float = 0, port: int | None = None, stored_first: bool = False
    ) -> Run:
        """Send messages and wait until each has arrived, once.

        `stored_first`: the worker begins when all are in the outbox. This process does the inbox's work before.
        """
        self.receiver.pop_arrivals()
        with self.costs() as costs:
            with self.suspended("worker") if stored_first else nullcontext():
                sent = self.post(path, count=count, rate=rate, port=port)
                if stored_first:
                    _process_inbox()
            eventually(lambda: self.receiver.count() >= count, seconds=60 + count / 20)
            time.sleep(0.3)  # results are written after the arrival
        costs.cpu["sender"] = sent.cpu_seconds
        arrivals = self.receiver.pop_arrivals()
        stamps = [stamp for _arrived, stamp in arrivals]
        assert len(arrivals) == count, f"{len(arrivals)} arrivals of {count} messages"
        assert len(set(stamps)) == count, "messages arrived twice, and others never"
        last = max(arrived for arrived, _stamp in arrivals)
        lags = [arrived - stamp for arrived, stamp in arrivals]
        return Run(sent, lags, arrivals, count / (last - sent.began), costs)

    def roots(self) -> dict[str, list[int]]:
        """Return the groups of processes, by their first processes."""
        roots = {group: [process.pid] for group, process in self.processes.items()}
        roots |= {"receiver": [self.receiver.process.pid or 0]}
        if environment_setup.servers is not None:
            for kind in environment_setup.servers.kinds:
                roots[kind] = [environment_setup.servers.state(kind)["pid"]]
        return roots

    @contextmanager
    def costs(self) -> Iterator[Costs]:
        costs = Costs()
        before, wal, started = usage.measure_cpu(self.roots()), usage.read_wal_position(), time.monotonic()
        yield costs
        costs.seconds = time.monotonic() - started
        costs.wal = usage.read_wal_position() - wal
        costs.cpu = {group: seconds - before[group] for group, seconds in usage.measure_cpu(self.roots()).items()}


def _process_inbox() -> None:
    from bridge.inbox.processing import process_inbox

    process_inbox()


def add_channel(kind: str, url: str = "", *, watches: Any = None) -> Any:
    from channels_setup.models import ApiChannel, ChannelState, ChatChannel
    from channels_setup.provisioning import add_api_channel

    name = f"Bench {kind} {time.time()}"
    chat_channel = watches.default_chat_channel if watches else ChatChannel.objects.create(name=name)
    channel: ApiChannel = add_api_channel(chat_channel=chat_channel, kind=kind, name=name, redirect_url=url)
    ApiChannel.objects.filter(pk=channel.pk).update(state=ChannelState.LIVE)
    return channel


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
