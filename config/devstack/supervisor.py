"""`manage.py up`: starts the portal's processes, starts again what dies, stops all of them together.

The command lines here are the ones docker-compose.yml uses (a test compares them).
"""

import http.client
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

from .processes import LISTEN_ON, catches, die_with_parent, end_group, end_leftover, is_stopped, spawn, write_json
from .servers import PROJECT, Servers

READY_SECONDS = 180
DEAF_SECONDS = 120
STOP_SECONDS = 10
LOG_BYTES = 5_000_000


def web_command(*, host: str, port: int, processes: int) -> list[str]:
    return ["python", "-m", "config.serving.server", "--host", host, "--port", str(port), "--processes", str(processes)]


def worker_command(*, queues: tuple[str, ...], concurrency: int, name: str = "worker") -> list[str]:
    return [
        *("python", "-m", "celery", "-A", "config.celery", "worker", "--queues", ",".join(queues)),
        *("--pool", "prefork", "--concurrency", str(concurrency), "--hostname", f"{name}@%h"),
        *("--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
    ]


def beat_command() -> list[str]:
    return ["python", "-m", "celery", "-A", "config.celery", "beat", "--loglevel", "WARNING", "--pidfile="]


class StackDoesNotStart(Exception):
    """A sentence for the person at the terminal."""


@dataclass
class Part:
    """One process of the portal; restarted when it ends, later and later when it keeps dying."""

    name: str
    command: list[str]
    log: Path
    port: int | None = None
    sockets: Sequence[socket.socket] = ()  # listening, and kept while the process is started again
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause: float = 0.0
    seen_stopped: int = 0  # times in a row

    def start(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.1"))
        numbers = [one.fileno() for one in self.sockets]
        with open(self.log, "ab") as log:
            self.process = spawn(
                [sys.executable, *self.command[1:]],
                on_parent_death=signal.SIGTERM,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=numbers,
                env=os.environ | {LISTEN_ON: ",".join(map(str, numbers))},
            )
        self.started_at = time.monotonic()

    def has_died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def bury(self) -> str:
        """Take the dead process's children along, plan the next start, and say how it died."""
        assert self.process is not None
        end_group(self.process)
        lived, code = time.monotonic() - self.started_at, self.process.returncode
        was_told = code in (0, -signal.SIGTERM)  # somebody restarts it, and callers wait
        died_young = lived < (1 if was_told else 10)
        self.pause = min(max(self.pause * 2, 1.0), 15.0) if died_young else 0.0
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
            end_group(self.process)
            self.process.wait()


class Supervisor:
    def __init__(
        self,
        *,
        data_dir: Path,
        parts: list[Part],
        servers: Servers | None,
        say: Callable[[str], None],
        is_called_off: Callable[[], bool] = lambda: False,
        is_deaf: Callable[[], bool] = lambda: False,
    ) -> None:
        self.data_dir, self.parts, self.servers, self.say = data_dir, parts, servers, say
        self.is_called_off = is_called_off  # a reason to stop besides the signals
        self.is_deaf = is_deaf  # the workers run, the broker answers, and yet no task gets done
        self.stack_file = data_dir / "stack.json"
        self.told_to_stop = False
        self.server_pids: dict[str, int] = {}

    def run(self, *, when_ready: Callable[[], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        try:
            for part in self.parts:
                part.start()
            self.note_servers()
            self.write_stack()
            if self.wait_until_ready():
                when_ready()
            ticks = 0
            while not self.told_to_stop:
                time.sleep(0.1)
                ticks += 1
                self.tend_parts()
                if ticks % 100 == 0:
                    self.tend_the_deaf()
                    self.replace_stopped_web()
                if ticks % 5 == 0:
                    self.tend_servers()
                    self.told_to_stop = self.told_to_stop or self.is_called_off()
        finally:
            self.stop()

    def on_signal(self, *_: object) -> None:
        self.told_to_stop = True

    def wait_until_ready(self) -> bool:
        web = next(part for part in self.parts if part.port)
        deadline = time.monotonic() + READY_SECONDS
        while not self.told_to_stop:
            for part in self.parts:
                if part.has_died():
                    raise StackDoesNotStart(f"{part.name} does not start:\n{last_words(part.log)}")
            if answers(web.port or 0):
                return True
            if time.monotonic() > deadline:
                raise StackDoesNotStart(f"The web does not answer; its words are in {web.log}.")
            time.sleep(0.05)
        return False

    def tend_parts(self) -> None:
        for part in self.parts:
            if part.has_died():
                how = part.bury()
                later = f" in {part.pause:.0f} s" if part.pause else ""
                self.say(f"{part.name} stopped ({how}); starting it again{later}. Its words: {part.log}")
                self.write_stack()
            if part.process is None and time.monotonic() >= part.start_again_at:
                part.start()
                self.write_stack()

    def tend_the_deaf(self) -> None:
        """A worker may stand with a broken connection and look alive: its heartbeat rows tell."""
        workers = [part for part in self.parts if part.name.startswith("worker") and part.process is not None]
        if not workers or any(time.monotonic() - part.started_at < DEAF_SECONDS for part in workers):
            return
        if self.is_deaf():
            self.say("The worker has done nothing for two minutes though the broker answers; starting it again.")
            for part in workers:
                part.stop()
                part.started_at = time.monotonic()

    def replace_stopped_web(self) -> None:
        """Kill a web parent that is seen stopped (SIGSTOP) twice; `serving.worker_watch` looks after its workers."""
        for part in self.parts:
            if part.port is None or part.process is None:
                continue
            part.seen_stopped = part.seen_stopped + 1 if is_stopped(part.process.pid) else 0
            if part.seen_stopped >= 2:
                self.say(f"{part.name} is stopped; replacing it.")
                part.seen_stopped = 0
                end_group(part.process)

    def tend_servers(self) -> None:
        """Their keepers start them again; here it is said and written down."""
        if self.servers is None:
            return
        self.servers.tend()
        before = self.server_pids.copy()
        self.note_servers()
        for name, pid in self.server_pids.items():
            if before.get(name) != pid:
                self.say(f"{name} stopped and was started again, pid {pid}.")
                self.write_stack()

    def note_servers(self) -> None:
        for kind in self.servers.kinds if self.servers else ():
            if pid := self.servers and self.servers.state(kind).get("pid"):
                self.server_pids[kind] = pid

    def write_stack(self) -> None:
        processes: list[dict[str, str | int]] = []
        for kind, pid in self.server_pids.items():
            assert self.servers is not None
            processes.append({"name": kind, "pid": pid, "port": self.servers.state(kind)["port"]})
        for part in self.parts:
            if part.process is not None:
                port = {"port": part.port} if part.port else {}
                processes.append({"name": part.name, "pid": part.process.pid, **port})
        write_json(self.stack_file, {"processes": processes})

    def stop(self) -> None:
        for part in self.parts:
            part.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for part in self.parts:
            part.wait(deadline)
        if self.servers is not None:
            self.servers.leave()
        self.stack_file.unlink(missing_ok=True)


def follow_parent() -> Callable[[], bool]:
    """Stop when the caller (make) dies, and when it was told to.

    make hands SIGTERM on to its children but not SIGINT, for which it waits: it relies on the terminal to have sent
    it to all. All that shows of a SIGINT sent to make alone is that its handler is gone.
    """
    die_with_parent(signal.SIGTERM)
    parent = os.getppid()
    could_be_told = catches(parent, signal.SIGINT)
    return lambda: could_be_told and not catches(parent, signal.SIGINT)


def end_leftovers(processes: list[dict[str, object]]) -> None:
    """After a kill -9 of `up` its parts are told to end by the kernel; see them gone before starting anew."""
    for process in processes:
        pid, name = process.get("pid"), str(process.get("name"))
        if isinstance(pid, int) and name not in ("postgres", "valkey"):
            mark = "config.serving.server" if name == "web" else "config.celery"
            end_leftover(pid, marks=(mark,), stop_signal=signal.SIGTERM)


def is_taken(*, host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
