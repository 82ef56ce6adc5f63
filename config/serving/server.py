"""The web server: granian, over listening sockets that outlive its workers.

    python -m config.serving.server --host 127.0.0.1 --port 8000 --processes 2

Granian's own workers open a socket each, and what waits in its queue when the worker ends is cut off. Here the sockets
are the parent's, or those of whoever started it (`manage.py up` names them in LISTEN_ON): one for each worker, so that
the kernel shares the callers out, handed on from a worker to the next. Nobody is turned away by a restart: SIGHUP
starts new workers one after the other before the old ones end, and what came while nobody listened waits its turn.
A worker that is told to end first accepts nobody more and answers whoever it has, and only then goes.
"""

import argparse
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from config.devstack.processes import BACKLOG, LISTEN_ON, open_listening_sockets

from . import late_bodies, worker_watch
from .arrival_limits import MAX_BODIES, RESERVED_BODIES
from .body_buffer import BodyBuffer

READER_THREADS = (
    MAX_BODIES + RESERVED_BODIES + 64
)  # threads of a worker, most of which wait for bodies; config.serving.body_buffer says how many work
MAX_CONNECTIONS = 2048  # of a worker, idle ones included
MAX_OPEN_FILES = (
    8192  # open ones of a worker: connections, and bodies in temporary files; many systems allow 1,024 at first
)
HEADER_TIMEOUT_MS = 10_000
RESPAWN_SECONDS = 10.0  # a new worker has loaded the portal by then; the old one works until then
DRAIN_SECONDS = 1.0  # so long a worker that ends waits for the requests of those whom it has accepted


class WebServer(MPServer):
    def __init__(self, *, sockets: Sequence[socket.socket], **options: Any) -> None:
        super().__init__("config.wsgi:application", **options)
        self.sockets = sockets
        self.last_requests = worker_watch.LastRequestTimes(self.workers)

    def _init_shared_socket(self) -> None:
        """Nothing to open: they are open."""

    def _drop_shared_socket(self) -> None:
        """They stay open until this process ends."""

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:  # type: ignore[override]  # as MPServer
        self._sso = self.sockets[idx % len(self.sockets)]
        number = self._sso.fileno()
        self._shd = SocketHolder(number, False, BACKLOG)  # type: ignore[assignment, call-arg]  # no stub
        return super()._spawn_worker(
            idx, target, partial(_load_application, callback_loader, number, partial(self.last_requests.record, idx))
        )


def _load_application(load: Callable[[], BodyBuffer], number: int, record_request: Callable[[], None]) -> BodyBuffer:
    """In a worker, before it serves: the portal, and a thread that alone hears the signal to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    gate, before = load(), signal.getsignal(signal.SIGINT)
    gate.record_request = record_request
    with socket.socket(fileno=os.dup(number)) as listener:
        late_bodies.start_late_body_watch(gate.arrivals, port=listener.getsockname()[1])
    threading.Thread(target=_drain_and_exit, args=(gate, number, before), daemon=True).start()
    return gate


def _drain_and_exit(gate: BodyBuffer, number: int, before: object) -> None:
    """Granian, when it ends, shuts the connections on which nothing was read yet: accepted, but the request still on
    its way. So nobody more is accepted, and it is told to end when those requests have come.
    """
    signal.sigwait({signal.SIGTERM})
    gate.is_draining = True
    with socket.socket() as nobodys:
        nobodys.bind(("127.0.0.1", 0))
        nobodys.listen()
        nobodys.setblocking(False)
        os.dup2(nobodys.fileno(), number)  # the next worker has the socket that was here
    time.sleep(DRAIN_SECONDS)
    while signal.getsignal(signal.SIGINT) is before:  # told while it was being started: granian does not listen yet
        time.sleep(0.02)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def raise_open_file_limit() -> None:
    """Raise this process's limit of open files, which its workers inherit, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    given = parser.parse_args(arguments)
    raise_open_file_limit()
    if numbers := os.environ.pop(LISTEN_ON, ""):
        sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",")]
    else:
        sockets = open_listening_sockets(host=given.host, port=given.port, count=given.processes)
    server = WebServer(
        sockets=sockets,
        address=given.host,
        port=given.port,
        interface=Interfaces.WSGI,
        workers=given.processes,
        blocking_threads=READER_THREADS,
        backpressure=MAX_CONNECTIONS,
        http=HTTPModes.http1,  # an unfinished HTTP/2 stream on a closed connection keeps granian's reader spinning
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_SECONDS,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
    )
    worker_watch.start_worker_watch(
        workers=lambda: server.wrks, last_requests=server.last_requests, host=given.host, port=given.port
    )
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
