"""The web server: granian, over listening sockets that outlive its workers.

    python -m config.web --host 127.0.0.1 --port 8000 --processes 2

Granian's own workers open a socket each, and what waits in its queue when the worker ends is cut off. Here the sockets
are the parent's, or those of whoever started it (`manage.py up` names them in LISTEN_ON): one for each worker, so that
the kernel shares the callers out, handed on from a worker to the next. Nobody is turned away by a restart: SIGHUP
starts new workers one after the other before the old ones end, and what came while nobody listened waits its turn.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from config.processes import BACKLOG, LISTEN_ON, listening

READERS = 512  # threads of a worker, most of which wait for bodies; config.gate says how many work
CONNECTIONS = 2048  # of a worker, idle ones included
HEADER_MS = 10_000
START_SECONDS = 10.0  # a new worker has loaded the portal by then; the old one works until then


class Server(MPServer):
    def __init__(self, *, sockets: Sequence[socket.socket], **options: Any) -> None:
        super().__init__("config.wsgi:application", **options)
        self.sockets = sockets

    def _init_shared_socket(self) -> None:
        """Nothing to open: they are open."""

    def _drop_shared_socket(self) -> None:
        """They stay open until this process ends."""

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:  # type: ignore[override]  # as MPServer
        self._sso = self.sockets[idx % len(self.sockets)]
        self._shd = SocketHolder(self._sso.fileno(), False, BACKLOG)  # type: ignore[assignment, call-arg]  # no stub
        return super()._spawn_worker(idx, target, callback_loader)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    given = parser.parse_args(arguments)
    if numbers := os.environ.pop(LISTEN_ON, ""):
        sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",")]
    else:
        sockets = listening(host=given.host, port=given.port, count=given.processes)
    Server(
        sockets=sockets,
        address=given.host,
        port=given.port,
        interface=Interfaces.WSGI,
        workers=given.processes,
        blocking_threads=READERS,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=START_SECONDS,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
