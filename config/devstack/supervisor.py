"""Supervisor of `manage.py up`: starts the portal's processes, restarts them, and stops them together.

docker-compose.yml uses the same command lines. A test compares them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .log_writer import RotatedLogs
from .processes import (
    LISTEN_ON,
    die_with_parent,
    has_signal_handler,
    is_stopped,
    kill_process_group,
    spawn_process,
    stop_leftover_process,
    write_json,
)
from .servers import PROJECT_DIR, LocalServers
from .web_probe import HUNG_SECONDS, RECOVERY_SECONDS, is_web_live

READY_TIMEOUT = 180
STOP_TIMEOUT = 10
MARKS = {"web": "config.serving.server", "beat": "config.beat"}  # on the command lines; all others are workers


def web_command(*, host: str, port: int, processes: int) -> list[str]:
    return ["python", "-m", "config.serving.server", "--host", host, "--port", str(port), "--processes", str(processes)]


def worker_command(*, queues: Sequence[str], concurrency: int, name: str = "worker") -> list[str]:
    return [
        *("python", "-m", "celery", "-A", "config.celery", "--skip-checks", "worker", "--queues", ",".join(queues)),
        *("--pool", "prefork", "--concurrency", str(concurrency), "--hostname", f"{name}@%h"),
        *("--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
    ]


def beat_command() -> list[str]:
    return ["python", "-m", "config.beat"]


class StackFailedToStart(Exception):
    """Error message for the terminal, with the end of a log. It is read late, when the log is complete."""

    def __init__(self, sentence: str, *, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log

    def __str__(self) -> str:
        return "\n".join([*self.args, *([tail_log(self.log)] if self.log else [])])


@dataclass
class ManagedProcess:
    """One process of the portal. It is restarted when it ends, with growing pauses when it keeps crashing."""

    name: str
    command: list[str]
    log: Path
    output: int = subprocess.DEVNULL  # descriptor for the log, from ``RotatedLogs``
    port: int | None = None
    sockets: Sequence[socket.socket] = ()  # listening sockets, which stay open while the process restarts
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause: float = 0.0
    seen_stopped: int = 0  # consecutive checks that found it stopped

    def start(self) -> None:
        descriptors = [one.fileno() for one in self.sockets]
        self.process = spawn_process(
            [sys.executable, *self.command[1:]],
            on_parent_death=signal.SIGTERM,
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            pass_fds=descriptors,
            env=os.environ | {LISTEN_ON: ",".join(map(str, descriptors))},
        )
        self.started_at = time.monotonic()

    def has_died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def reap(self) -> str:
        """Kill the children of the dead process, schedule the next start, and return how it ended."""
        assert self.process is not None
        kill_process_group(self.process)
        uptime, code = time.monotonic() - self.started_at, self.process.returncode
        was_asked = code in (0, -signal.SIGTERM)  # a requested restart, so callers wait for it
        is_early = uptime < (1 if was_asked else 10)
        self.pause = min(max(self.pause * 2, 1.0), 15.0) if is_early else 0.0
        self.start_again_at = time.monotonic() + self.pause
        self.process = None
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(max(deadline - time.monotonic(), 0.1))
            kill_process_group(self.process)
            self.process.wait()


class Supervisor:
    def __init__(
        self,
        *,
        data_dir: Path,
        processes: list[ManagedProcess],
        servers: LocalServers | None,
        report: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
        are_workers_hung: Callable[[], bool] = lambda: False,
    ) -> None:
        self.data_dir, self.processes, self.servers, self.report = data_dir, processes, servers, report
        self.should_stop = should_stop  # reason to stop besides signals
        self.are_workers_hung = are_workers_hung  # whether the workers do nothing although the broker responds
        self.stack_file = data_dir / "stack.json"
        self.is_stopping = False
        self.logs: RotatedLogs | None = None
        self.server_pids: dict[str, int] = {}
        self.hung_since: float | None = None  # when the check first found the workers hung

    def run(self, *, when_ready: Callable[[], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        self.logs = RotatedLogs([managed.log for managed in self.processes])
        try:
            for managed in self.processes:
                managed.output = self.logs.get_output(managed.log)
                managed.start()
            self.refresh_server_pids()
            self.write_stack_file()
            if self.wait_until_ready():
                when_ready()
            ticks = 0
            while not self.is_stopping:
                time.sleep(0.1)
                ticks += 1
                self.restart_dead()
                if ticks % 100 == 0:
                    self.restart_hung()
                    self.replace_stopped_web()
                if ticks % 5 == 0:
                    self.restart_servers()
                    self.logs.restart_dead_writer()
                    self.is_stopping = self.is_stopping or self.should_stop()
        finally:
            self.stop()

    def on_signal(self, *_: object) -> None:
        self.is_stopping = True

    def wait_until_ready(self) -> bool:
        web = next(managed for managed in self.processes if managed.port)
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.is_stopping:
            for managed in self.processes:
                if managed.has_died():
                    raise StackFailedToStart(f"{managed.name} does not start:", log=managed.log)
            if is_web_live(web.port or 0):
                return True
            if time.monotonic() > deadline:
                raise StackFailedToStart(f"The web process does not respond; see {web.log}.")
            time.sleep(0.05)
        return False

    def restart_dead(self) -> None:
        for managed in self.processes:
            if managed.has_died():
                how = managed.reap()
                later = f" in {managed.pause:.0f} s" if managed.pause else ""
                self.report(f"{managed.name} stopped ({how}); restarting it{later}. Log: {managed.log}")
                self.write_stack_file()
            if managed.process is None and time.monotonic() >= managed.start_again_at:
                managed.start()
                self.write_stack_file()

    def restart_hung(self) -> None:
        """Restart running workers whose heartbeats are missing, for example because of a broken connection.

        After an outage of broker or database, the last heartbeats are old: workers have RECOVERY_SECONDS for new ones.
        """
        workers = [
            managed for managed in self.processes if managed.name.startswith("worker") and managed.process is not None
        ]
        now = time.monotonic()
        are_new = any(now - managed.started_at < HUNG_SECONDS for managed in workers)
        if not workers or are_new or not self.are_workers_hung():
            self.hung_since = None
            return
        self.hung_since = self.hung_since or now
        if now - self.hung_since >= RECOVERY_SECONDS:
            self.hung_since = None
            self.report("The worker has done nothing for two minutes although the broker responds; restarting it.")
            for managed in workers:
                managed.stop()
                managed.started_at = time.monotonic()

    def replace_stopped_web(self) -> None:
        """Kill a web process that was found stopped (SIGSTOP) twice; `serving.worker_watch` watches its workers."""
        for managed in self.processes:
            if managed.port is None or managed.process is None:
                continue
            managed.seen_stopped = managed.seen_stopped + 1 if is_stopped(managed.process.pid) else 0
            if managed.seen_stopped >= 2:
                self.report(f"{managed.name} is stopped; replacing it.")
                managed.seen_stopped = 0
                kill_process_group(managed.process)

    def restart_servers(self) -> None:
        """Restart dead server daemons, and report and record servers that have restarted."""
        if self.servers is None:
            return
        self.servers.restart_dead_daemons()
        before = self.server_pids.copy()
        self.refresh_server_pids()
        for name, pid in self.server_pids.items():
            if before.get(name) != pid:
                self.report(f"{name} stopped and was restarted with pid {pid}.")
                self.write_stack_file()

    def refresh_server_pids(self) -> None:
        for kind in self.servers.kinds if self.servers else ():
            if pid := self.servers and self.servers.state(kind).get("pid"):
                self.server_pids[kind] = pid

    def write_stack_file(self) -> None:
        entries: list[dict[str, str | int]] = []
        for kind, pid in self.server_pids.items():
            assert self.servers is not None
            entries.append({"name": kind, "pid": pid, "port": self.servers.state(kind)["port"]})
        for managed in self.processes:
            if managed.process is not None:
                port = {"port": managed.port} if managed.port else {}
                entries.append({"name": managed.name, "pid": managed.process.pid, **port})
        write_json(self.stack_file, {"processes": entries})

    def stop(self) -> None:
        for managed in self.processes:
            managed.stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for managed in self.processes:
            managed.wait(deadline)
        if self.logs is not None:
            self.logs.close()
        if self.servers is not None:
            self.servers.release()
        self.stack_file.unlink(missing_ok=True)


def watch_parent() -> Callable[[], bool]:
    """Stop with the calling process (make). Return a function that tells whether make has received SIGINT.

    make forwards SIGTERM to its children, but not SIGINT, which a terminal sends to all of them. The only sign of a
    SIGINT sent to make alone is that its handler is gone.
    """
    die_with_parent(signal.SIGTERM)
    parent = os.getppid()
    had_handler = has_signal_handler(parent, signal.SIGINT)
    return lambda: had_handler and not has_signal_handler(parent, signal.SIGINT)


def stop_leftovers(processes: list[dict[str, object]]) -> None:
    """Wait for the end of processes of a killed `up`, which the kernel has signaled, and stop those that remain."""
    for process in processes:
        pid, name = process.get("pid"), str(process.get("name"))
        if isinstance(pid, int) and name not in ("postgres", "valkey"):
            mark = MARKS.get(name, "config.celery")
            stop_leftover_process(pid, marks=(mark,), stop_signal=signal.SIGTERM)


def tail_log(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
