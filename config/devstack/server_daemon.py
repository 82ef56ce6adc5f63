"""Daemon of one local server: it starts the server, restarts it after a crash, and stops it after the last user.

`python -m config.devstack.server_daemon postgres|valkey FOLDER [NAME=VALUE…]` is started by config.devstack.servers,
never by hand. `make up` and any number of `manage.py` commands share the server. Each user holds a shared flock on
FOLDER/users. The daemon waits for the exclusive lock, which it gets when the last user has ended (also by kill -9),
and then stops the server.

Files in FOLDER: `users` and `daemon` (locks), `state.json` (PIDs and port), `server.log`, and the data.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from config.file_permissions import set_umask

from .log_writer import RotatedLogs
from .postgres_and_valkey import HOST, PostgresServer, ValkeyServer
from .processes import acquire_lock, is_port_free, kill_process_group, read_json, spawn_process, write_json

START_TIMEOUT = 300  # recovery after a crash can take minutes
STOP_TIMEOUT = 20


def choose_port(previous_port: object) -> int:
    """Return the previous port if it is free, so that known addresses stay valid; otherwise a free port."""
    if isinstance(previous_port, int) and is_port_free(host=HOST, port=previous_port):
        return previous_port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class ServerDaemon:
    """Run one server until its last user has ended. Restart it if it dies earlier."""

    def __init__(self, *, server: PostgresServer | ValkeyServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.state_file = folder / "state.json"
        self.log = folder / "server.log"
        self.logs = RotatedLogs([self.log])
        self.stopping = threading.Event()  # set when no user is left
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.started_at = 0.0

    def run(self) -> None:
        self.server.stop_leftovers()
        self.server.prepare()
        self.port = choose_port(read_json(self.state_file).get("port"))
        self.start()
        threading.Thread(target=self.wait_for_last_user, daemon=True).start()
        pause = 0.1
        while not self.stopping.wait(0.1):
            self.logs.restart_dead_writer()
            if self.process is not None and self.process.poll() is not None:
                # Restart a server that keeps dying with growing pauses.
                pause = 0.1 if time.monotonic() - self.started_at > 30 else min(pause * 2, 10)
                kill_process_group(self.process)
                self.record(pid=None)
                self.stopping.wait(pause)
                self.server.stop_leftovers()
                self.start()

    def start(self) -> None:
        """Start the server and wait until it is ready. If its port has been taken, choose another one."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self.stopping.is_set():
            self.process = spawn_process(
                self.server.command(self.port),
                on_parent_death=self.server.stop_signal,
                before_exec=self.server.drop_privileges,
                stdin=subprocess.DEVNULL,
                stdout=self.logs.get_output(self.log),
                stderr=self.logs.get_output(self.log),
                cwd=self.folder,
            )
            while self.process.poll() is None and not self.stopping.is_set():
                if self.server.is_ready(self.port):
                    self.started_at = time.monotonic()
                    self.record(pid=self.process.pid)
                    return
                time.sleep(0.02)
            if time.monotonic() > deadline:
                raise SystemExit(f"The server does not start; see {self.log}.")
            time.sleep(0.2)
            if not self.started_at:  # users know the port of a server that was ready before
                self.port = choose_port(self.port)

    def record(self, *, pid: int | None) -> None:
        write_json(self.state_file, {"daemon": os.getpid(), "pid": pid, "port": self.port})

    def wait_for_last_user(self) -> None:
        # Held until this process ends. New users wait for it and then start another daemon.
        acquire_lock(self.folder / "users")
        self.stopping.set()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.server.stop_signal)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            kill_process_group(self.process)
        self.logs.close()
        self.record(pid=None)


def main(arguments: list[str]) -> None:
    kind, folder = arguments[0], Path(arguments[1])
    if acquire_lock(folder / "daemon", wait=False) is None:
        raise SystemExit(f"A daemon for {folder} is already running.")
    set_umask()
    password = sys.stdin.readline().strip()
    server: PostgresServer | ValkeyServer
    if kind == "postgres":
        server = PostgresServer(folder=folder, password=password, extra_settings=arguments[2:])
    else:
        server = ValkeyServer(folder=folder, password=password)
    daemon = ServerDaemon(server=server, folder=folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The daemon normally stops after the last user. SIGTERM comes when the machine shuts down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        daemon.run()
    finally:
        daemon.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
