"""The web server: granian with listening sockets that outlive its workers.

    python -m config.serving.server --host 127.0.0.1 --port 8000 --processes 2

Granian's workers open their own sockets, and connections that wait in the queue of an ending worker are lost. Here the
parent process opens the sockets, or inherits them (`manage.py up` passes them in LISTEN_ON). Each worker has one, and
passes it on to its successor; the kernel distributes connections among them. The parent also loads the portal, and its
workers are forked from it, so that they share the memory of the code.

A restart loses no connection. SIGHUP starts this program again in the same process: it loads the current code and
starts new workers before the old ones end. A worker that receives SIGTERM stops accepting connections, completes its
requests, and then ends.
"""

import argparse
import importlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from config.devstack.processes import BACKLOG, LISTEN_ON, open_listening_sockets
from config.environment_check import exit_if_invalid

from . import late_bodies, worker_watch
from .arrival_limits import MAX_BODIES, RESERVED_BODIES
from .body_buffer import BodyBuffer

READER_THREADS = (
    MAX_BODIES + RESERVED_BODIES + 64
)  # threads per worker; most wait for bodies, and config.serving.body_buffer limits those that work
MAX_CONNECTIONS = 2048  # per worker, including idle ones
MAX_OPEN_FILES = 8192  # per worker, for connections and bodies; the default of many systems is 1,024
HEADER_TIMEOUT_MS = 10_000
REPLACED_WORKERS = "REPLACED_WORKERS"  # environment variable: comma-separated PIDs of the workers before SIGHUP
HELD_SIGNALS = {signal.SIGTERM, signal.SIGHUP}
START_SECONDS = 3.0  # until a new worker accepts connections; the old one works until then
KILL_SECONDS = 10  # until an ending worker is killed
MAX_WORKER_MB = 600  # resident memory of a worker; one that keeps more is replaced. After many pages it has 200
MEMORY_CHECK_SECONDS = 30
DRAIN_SECONDS = 1.0  # time for requests on connections that an ending worker has accepted


class WebServer(MPServer):
    def __init__(self, *, sockets: Sequence[socket.socket], **options: Any) -> None:
        super().__init__("config.wsgi:application", **options)
        self.sockets = sockets
        self.last_requests = worker_watch.LastRequestTimes(self.workers)

    def _init_shared_socket(self) -> None:
        """Do nothing, because the sockets are already open."""

    def _drop_shared_socket(self) -> None:
        """Keep the sockets open until this process ends."""

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        super().startup(spawn_target, target_loader)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        end_replaced_workers([int(pid) for pid in os.environ.pop(REPLACED_WORKERS, "").split(",") if pid])

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        """Start this program again in the same process. Signals that come meanwhile wait until it has started."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        for one in self.sockets:
            one.set_inheritable(True)
        os.environ[LISTEN_ON] = ",".join(str(one.fileno()) for one in self.sockets)
        os.environ[REPLACED_WORKERS] = ",".join(str(worker.inner.pid) for worker in self.wrks)
        os.execv(sys.executable, sys.orig_argv)

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:  # type: ignore[override]  # as MPServer
        self._sso = self.sockets[idx % len(self.sockets)]
        number = self._sso.fileno()
        self._shd = SocketHolder(number, False, BACKLOG)  # type: ignore[assignment, call-arg]  # no stub
        return super()._spawn_worker(
            idx, target, partial(_load_application, callback_loader, number, partial(self.last_requests.record, idx))
        )


def _load_application(load: Callable[[], BodyBuffer], number: int, record_request: Callable[[], None]) -> BodyBuffer:
    """Load the application in a new worker, and start the threads for late bodies and for SIGTERM."""
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
    buffer, before = load(), signal.getsignal(signal.SIGINT)
    buffer.record_request = record_request
    with socket.socket(fileno=os.dup(number)) as listener:
        late_bodies.start_late_body_watch(buffer.arrivals, port=listener.getsockname()[1])
    threading.Thread(target=_drain_and_exit, args=(buffer, number, before), daemon=True).start()
    return buffer


def _drain_and_exit(buffer: BodyBuffer, number: int, before: object) -> None:
    """Wait for SIGTERM, stop accepting connections, and end granian after DRAIN_SECONDS.

    Granian closes accepted connections whose request has not arrived yet. The delay lets these requests arrive.
    """
    signal.sigwait({signal.SIGTERM})
    buffer.is_draining = True
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unused.listen()
        unused.setblocking(False)
        os.dup2(unused.fileno(), number)  # the listening socket now belongs to the next worker only
    time.sleep(DRAIN_SECONDS)
    while signal.getsignal(signal.SIGINT) is before:  # SIGTERM came during the start; granian has no handler yet
        time.sleep(0.02)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def end_replaced_workers(pids: Sequence[int]) -> None:
    """End the workers that the program before SIGHUP has left, when the new ones have started."""
    if not pids:
        return
    time.sleep(START_SECONDS)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + KILL_SECONDS
    for pid in pids:
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def load_portal() -> None:
    """Load the portal before the workers are forked, so that they share its memory."""
    from config import shared_memory

    importlib.import_module("config.wsgi")
    from . import warm_up  # Django is set up now

    warm_up.load_urls_and_translations()
    warm_up.load_templates()
    shared_memory.initialize_database_driver()
    shared_memory.freeze_loaded_objects()


def raise_open_file_limit() -> None:
    """Raise the limit of open files, which workers inherit, up to the hard limit of the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    options = parser.parse_args(arguments)
    exit_if_invalid()
    raise_open_file_limit()
    if numbers := os.environ.pop(LISTEN_ON, ""):
        sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",")]
    else:
        sockets = open_listening_sockets(host=options.host, port=options.port, count=options.processes)
    load_portal()
    server = WebServer(
        sockets=sockets,
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=options.processes,
        blocking_threads=READER_THREADS,
        backpressure=MAX_CONNECTIONS,
        http=HTTPModes.http1,  # an unfinished HTTP/2 stream on a closed connection keeps granian's reader spinning
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=START_SECONDS,
        workers_kill_timeout=KILL_SECONDS,
        workers_max_rss=MAX_WORKER_MB,
        rss_sample_interval=MEMORY_CHECK_SECONDS,
        rss_samples=3,
        log_level=LogLevels.error,
    )
    worker_watch.start_worker_watch(
        workers=lambda: server.wrks, last_requests=server.last_requests, host=options.host, port=options.port
    )
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
