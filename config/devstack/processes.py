"""Locks, state files, sockets and child processes of the devstack.

Standard library only, because the server daemons do not load Django.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
LEFTOVER_TIMEOUT = 20
PROBE_SECONDS = 0.5  # longer than `is_locked` holds a lock, also on a busy machine
LISTEN_ON = "LISTEN_ON"  # environment variable of the web server: comma-separated descriptors of listening sockets
BACKLOG = 1024
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signal_number: int) -> None:
    """Let Linux send this process a signal when its parent dies, so that kill -9 leaves no processes behind."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal_number)


def has_signal_handler(pid: int, signal_number: int) -> bool:
    """Return whether the process has a handler for the signal; False without /proc."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal_number - 1) & 1)
    return False


def is_stopped(pid: int) -> bool:
    """Return whether the process is stopped by a signal (state T); False without /proc."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    return False


def spawn_process(
    command: list[str],
    *,
    on_parent_death: signal.Signals,
    before_exec: Callable[[], None] | None = None,
    **popen_options: Any,
) -> subprocess.Popen[bytes]:
    """Start a child in its own process group, so that its children can be killed with it."""
    parent = os.getpid()

    def prepare() -> None:
        if before_exec is not None:
            before_exec()
        # After before_exec, because a change of credentials clears the setting.
        die_with_parent(on_parent_death)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(command, preexec_fn=prepare, start_new_session=True, **popen_options)


def kill_process_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all remaining processes of a child's process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def find_bind_problem(*, host: str, port: int) -> OSError | None:
    """Return why this program cannot listen on the address, if so."""
    try:
        with _create_socket(host) as probe:
            probe.bind((host, port))
    except OSError as error:
        return error
    return None


def is_port_free(*, host: str, port: int) -> bool:
    return find_bind_problem(host=host, port=port) is None


def open_listening_sockets(*, host: str, port: int, count: int) -> list[socket.socket]:
    """Open listening sockets on one port. Linux distributes connections among them; elsewhere there is only one."""
    sockets = []
    for _ in range(count if sys.platform == "linux" else 1):
        one = _create_socket(host)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind((host, port))
        one.listen(BACKLOG)
        sockets.append(one)
    return sockets


def _create_socket(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return one


def write_json(path: Path, content: Any, *, mode: int = 0o600) -> None:
    """Write a JSON file atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def acquire_lock(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Lock a file and return its descriptor; None if it is locked and `wait` is False. Closing it releases the lock.

    Without `wait` the lock is tried for PROBE_SECONDS: `is_locked` of another process may hold it for a moment.
    """
    deadline = time.monotonic() + PROBE_SECONDS
    while (descriptor := _try_lock(path, shared=shared, wait=wait)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return descriptor


def _try_lock(path: Path, *, shared: bool = False, wait: bool = False) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    descriptor = acquire_lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_locked(path: Path) -> bool:
    descriptor = _try_lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def stop_leftover_process(pid: int, *, marks: tuple[str, ...], stop_signal: signal.Signals) -> None:
    """Stop a recorded process if its command line contains all marks, so that it is still the same one."""

    deadline = time.monotonic() + LEFTOVER_TIMEOUT
    while all(mark in read_command_line(pid) for mark in marks):
        number = stop_signal if time.monotonic() < deadline else signal.SIGKILL
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        time.sleep(0.1)


def read_command_line(pid: int) -> str:
    """Return the command line of a process; "" if it has ended."""
    if LIBC is not None:
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    return subprocess.run(["ps", "-o", "args=", "-ww", "-p", str(pid)], capture_output=True, text=True).stdout
