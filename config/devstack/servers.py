"""Access to the local PostgreSQL and Valkey of a data folder.

    servers = attach_servers(data_dir=folder, kinds=("postgres", "valkey"))
    os.environ.update(servers.urls)

The servers are started if they do not run. config.devstack.server_daemon stops them after the last user.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from config.file_permissions import private_opener

from .local_secrets import local_secrets
from .postgres_and_valkey import HOST, PostgresServer
from .processes import acquire_lock, file_lock, is_locked, read_json

PROJECT_DIR = Path(__file__).resolve().parents[2]
START_TIMEOUT = 300  # the first start creates the database, and recovery after a crash takes time


class ServersFailedToStart(Exception):
    """Error message for the terminal."""


@dataclass
class LocalServers:
    """The servers of one data folder, in use until release() or the end of the process."""

    data_dir: Path
    kinds: tuple[str, ...]
    postgres_settings: tuple[str, ...] = ()  # more settings of the server, as name=value
    locks: dict[str, int] = field(default_factory=dict)
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def folder(self, kind: str) -> Path:
        return self.data_dir / kind

    def state(self, kind: str) -> dict[str, int]:
        return read_json(self.folder(kind) / "state.json")

    @property
    def urls(self) -> dict[str, str]:
        passwords = local_secrets(self.data_dir)
        urls = {}
        if "postgres" in self.kinds:
            account = f"{PostgresServer.user}:{passwords['POSTGRES_PASSWORD']}"
            place = f"{HOST}:{self.state('postgres')['port']}/{PostgresServer.database}"
            urls["DATABASE_URL"] = f"postgres://{account}@{place}"
        if "valkey" in self.kinds:
            place = f"{HOST}:{self.state('valkey')['port']}/0"
            urls["REDIS_URL"] = f"redis://:{passwords['VALKEY_PASSWORD']}@{place}"
        return urls

    def start(self) -> None:
        """Start the daemons that do not run, and wait until all servers are ready."""
        started = {kind: self.start_daemon(kind) for kind in self.kinds}
        for kind, process in started.items():
            self.wait_until_ready(kind, process)

    def start_daemon(self, kind: str) -> subprocess.Popen[bytes] | None:
        folder = self.folder(kind)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if kind not in self.locks:
            lock = acquire_lock(folder / "users", shared=True)
            assert lock is not None
            self.locks[kind] = lock
        with file_lock(folder / "start"):
            if is_locked(folder / "daemon"):
                return None
            command = [sys.executable, "-m", "config.devstack.server_daemon", kind, str(folder)]
            with open(folder / "daemon.log", "wb", opener=private_opener) as log:
                process = subprocess.Popen(
                    [*command, *(self.postgres_settings if kind == "postgres" else ())],
                    cwd=PROJECT_DIR,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            assert process.stdin is not None
            process.stdin.write(local_secrets(self.data_dir)[f"{kind.upper()}_PASSWORD"].encode() + b"\n")
            process.stdin.close()
            while process.poll() is None and not is_locked(folder / "daemon"):
                time.sleep(0.01)
        self.daemons.append(process)
        return process

    def wait_until_ready(self, kind: str, process: subprocess.Popen[bytes] | None) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            state = self.state(kind)
            if state.get("pid") and (process is None or state.get("daemon") == process.pid):
                return
            if process is not None and process.poll() is not None:
                log_text = (self.folder(kind) / "daemon.log").read_text(errors="replace").strip()
                raise ServersFailedToStart(f"The local {kind} does not start: {log_text[-2000:]}")
            if time.monotonic() > deadline:
                raise ServersFailedToStart(f"The local {kind} does not answer; see {self.folder(kind)}.")
            time.sleep(0.02)

    def restart_dead_daemons(self) -> None:
        """Restart killed daemons, whose servers end with them. Long-running users call it regularly."""
        for process in self.daemons:
            process.poll()
        for kind in self.kinds:
            if pid := self.state(kind).get("daemon"):
                # A daemon that the program before `execv` started is a child, too, but not in `daemons`.
                with suppress(ChildProcessError):  # another process started it
                    os.waitpid(pid, os.WNOHANG)
            self.start_daemon(kind)

    def release(self) -> None:
        """Stop using the servers. The last user waits until they have stopped."""
        for lock in self.locks.values():
            os.close(lock)
        kinds, self.locks = list(self.locks), {}
        for kind in kinds:
            self.wait_if_stopping(kind)

    def wait_if_stopping(self, kind: str) -> None:
        # The daemon holds the exclusive lock while it stops the server. It may take a moment to get it.
        for _ in range(3):
            probe = acquire_lock(self.folder(kind) / "users", shared=True, wait=False)
            if probe is None:
                probe = acquire_lock(self.folder(kind) / "users", shared=True)
                assert probe is not None
                os.close(probe)
                return
            os.close(probe)
            time.sleep(0.02)


def attach_servers(*, data_dir: Path, kinds: tuple[str, ...], postgres_settings: tuple[str, ...] = ()) -> LocalServers:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    servers = LocalServers(data_dir=data_dir, kinds=kinds, postgres_settings=postgres_settings)
    servers.start()
    return servers
