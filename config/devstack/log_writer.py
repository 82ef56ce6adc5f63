"""Log files of limited size. A child process writes what the portal's processes print, and rotates the files.

Each log has a pipe. The processes hold its write end as standard output and error, so they are not restarted when a
file is rotated, and a writer that dies is replaced without loss: what was printed waits in the pipe. The writer ends
when all processes that hold a write end have ended, even if the supervisor was killed.

The writer runs this file as a script, without the portal's packages: it needs a few megabytes of memory.
"""

import fcntl
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 5_000_000
OLD_FILES = 5
PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 16
SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux


class RotatedLogs:
    """The pipes of some logs, and the process that writes them to files."""

    def __init__(self, paths: Sequence[Path], *, max_bytes: int = MAX_BYTES) -> None:
        self.paths, self.max_bytes = list(paths), max_bytes
        self.pipes = [os.pipe() for _path in paths]
        for read_end, _write_end in self.pipes:
            with suppress(OSError):  # the system's limit for all pipes of a user
                if SET_PIPE_SIZE is not None:
                    fcntl.fcntl(read_end, SET_PIPE_SIZE, PIPE_BYTES)
        self.process = self._start_writer()

    def get_output(self, path: Path) -> int:
        """Return the descriptor that a process writes this log to."""
        return self.pipes[self.paths.index(path)][1]

    def restart_dead_writer(self) -> None:
        if self.process.poll() is not None:
            self.process = self._start_writer()

    def close(self) -> None:
        """Wait until everything is written. Call it after the processes have ended."""
        for _read_end, write_end in self.pipes:
            os.close(write_end)
        self.restart_dead_writer()
        with suppress(subprocess.TimeoutExpired):  # a process that was started by hand still holds a write end
            self.process.wait(5)
        for read_end, _write_end in self.pipes:
            os.close(read_end)

    def _start_writer(self) -> subprocess.Popen[bytes]:
        read_ends = [read_end for read_end, _write_end in self.pipes]
        files = [f"{read_end}:{path}" for read_end, path in zip(read_ends, self.paths, strict=True)]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.max_bytes), *files],
            pass_fds=read_ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # signals of the terminal do not end it
        )


class RotatedFile:
    """One log file. When it is full it becomes ``NAME.1``, ``NAME.1`` becomes ``NAME.2``, and so on."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path, self.max_bytes = path, max_bytes
        self.lost_bytes = 0
        self.at_line_start = True
        self._open()

    def write(self, data: bytes) -> None:
        """Append, and rotate at the end of a line once the file is full. A full disk loses lines, never blocks."""
        if self.size >= self.max_bytes:
            if not self.at_line_start:
                end = data.find(b"\n") + 1
                self._append(data[:end])
                data = data[end:]
            if self.at_line_start or self.size >= 2 * self.max_bytes:
                self._rotate()
        self._append(data)

    def _append(self, data: bytes) -> None:
        if data and self.lost_bytes:
            notice = f"(The log lost {self.lost_bytes} bytes: the disk was full.)\n".encode()
            self.lost_bytes = 0
            self._append(notice)
        while data:
            try:
                count = os.write(self.descriptor, data)
            except OSError:
                self.lost_bytes += len(data)
                return
            self.size += count
            self.at_line_start = data[count - 1 : count] == b"\n"
            data = data[count:]

    def _rotate(self) -> None:
        full = self.descriptor
        with suppress(OSError):  # a full disk has no place for a new file: the full one goes on
            if self.path.exists():  # not after a rotation that failed, or if somebody has deleted the file
                for number in range(OLD_FILES - 1, 0, -1):
                    with suppress(FileNotFoundError):
                        os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
                os.replace(self.path, f"{self.path}.1")
            self._open()
            os.close(full)

    def _open(self) -> None:
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self.descriptor).st_size


def main(arguments: Sequence[str]) -> None:
    """Copy each pipe (``DESCRIPTOR:PATH``, after the size limit) to its file until all write ends are closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with selectors.DefaultSelector() as selector:
        for argument in arguments[1:]:
            descriptor, _colon, path = argument.partition(":")
            file = RotatedFile(Path(path), max_bytes=int(arguments[0]))
            selector.register(int(descriptor), selectors.EVENT_READ, file)
        while selector.get_map():
            for key, _events in selector.select():
                if data := os.read(key.fd, READ_BYTES):
                    key.data.write(data)
                else:
                    selector.unregister(key.fd)


if __name__ == "__main__":
    main(sys.argv[1:])
