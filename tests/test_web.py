"""The web server alone, on our own sockets: every accepted connection is answered, even during shutdown."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from django.conf import settings

from config.devstack.processes import LISTEN_ON, is_stopped, kill_process_group, open_listening_sockets, spawn_process
from config.serving import server as web_server
from config.serving import worker_watch
from tests.faults import h2c, truncation
from tests.faults.stack import children
from tests.load.memory import list_descendants
from tests.processes import eventually, free_port

ASK = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CALLERS = 12

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = open_listening_sockets(host="127.0.0.1", port=free_port(), count=2)
    yield made
    for each in made:
        each.close()


@pytest.fixture
def start(sockets: list[socket.socket]) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(first: str = "") -> subprocess.Popen[bytes]:
        """Start the server; `first` is Python code that the parent process runs before."""
        numbers = [one.fileno() for one in sockets]
        module = (
            ["-c", f"import sys; {first}; from config.serving.server import main; main(sys.argv[1:])"]
            if first
            else ["-m", "config.serving.server"]
        )
        command = [sys.executable, *module, "--host", "127.0.0.1", "--port", str(port(sockets))]
        started.append(
            spawn_process(
                [*command, "--processes", "2"],
                on_parent_death=signal.SIGKILL,
                cwd=settings.BASE_DIR,
                env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", LISTEN_ON: ",".join(map(str, numbers))},
                pass_fds=numbers,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        kill_process_group(process)  # its workers would otherwise live on and keep the output open
        process.wait()


def port(sockets: list[socket.socket]) -> int:
    number: int = sockets[0].getsockname()[1]
    return number


def connect(sockets: list[socket.socket]) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(sockets)), timeout=60)


def read_response(line: socket.socket) -> tuple[int, str | None]:
    """Return the status and the Connection header."""
    response = http.client.HTTPResponse(line)
    response.begin()
    response.read()
    return response.status, response.getheader("Connection")


def request_page(line: socket.socket) -> tuple[int, str | None]:
    line.sendall(ASK)
    return read_response(line)


def test_accepted_connections_are_answered_by_a_server_that_stops(sockets: list[socket.socket], start: Start) -> None:
    server = start()
    steady = connect(sockets)
    assert request_page(steady) == (200, None)  # keep-alive
    slow = [connect(sockets) for _ in range(CALLERS)]  # accepted, with requests still on their way
    # Every second connection is answered, so the others were accepted, too.
    assert [request_page(line) for line in slow[::2]] == [(200, None)] * (CALLERS // 2)

    server.terminate()
    while request_page(steady) == (200, None):  # until the server announces its last response
        time.sleep(0.02)
    late = connect(sockets)
    late.sendall(ASK)
    statuses = [request_page(line)[0] for line in slow]

    assert statuses == [200] * CALLERS
    assert server.wait(30) == 0
    start()
    assert read_response(late)[0] == 200  # a connection that came too late has waited for the next server


def test_sighup_loads_the_portal_again_and_refuses_nobody(sockets: list[socket.socket], start: Start) -> None:
    server = start("import config.serving.server as s; s.START_SECONDS = 0.5")
    assert request_page(connect(sockets))[0] == 200
    before = set(list_descendants(server.pid))

    server.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    server.send_signal(signal.SIGHUP)  # waits until the program has started again

    statuses = set()
    while before & set(list_descendants(server.pid)) != {server.pid}:
        statuses.add(request_page(connect(sockets))[0])
    statuses.add(request_page(connect(sockets))[0])
    assert statuses == {200}
    eventually(lambda: len(list_descendants(server.pid)) == 3)
    assert server.poll() is None


def test_a_worker_that_keeps_too_much_memory_is_replaced(sockets: list[socket.socket], start: Start) -> None:
    server = start(
        "import config.serving.server as s; s.MAX_WORKER_MB, s.MEMORY_CHECK_SECONDS, s.START_SECONDS = 10, 0.1, 0.5"
    )
    assert request_page(connect(sockets))[0] == 200
    before = set(list_descendants(server.pid))

    statuses = set()
    while before & set(list_descendants(server.pid)) != {server.pid}:
        statuses.add(request_page(connect(sockets))[0])

    assert statuses == {200}


def test_truncated_bodies_and_http2_are_refused(sockets: list[socket.socket], start: Start) -> None:
    start()
    path = "/health/nothing/"  # answered by Django although the database has no tables
    bodies = {
        "application/json": b'{"a": 1}',
        "application/x-www-form-urlencoded": b"username=x",
        "multipart/form-data; boundary=XX": b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--XX--\r\n',
    }
    whole = {
        kind: truncation.send(port(sockets), truncation.Request(path=path, content_type=kind, body=body))
        for kind, body in bodies.items()
    }
    statuses = {
        (form, kind): status
        for form in truncation.FORMS
        for kind, body in bodies.items()
        if (status := truncation.send(port(sockets), truncation.Request(path=path, content_type=kind, body=body), form))
        not in truncation.REFUSED
    }
    line = connect(sockets)
    line.sendall(h2c.PREFACE)

    assert whole == dict.fromkeys(bodies, 404)  # a response of Django
    assert statuses == {}
    assert not line.recv(100).startswith(b"\0\0")  # no SETTINGS frame: the server does not speak HTTP/2
    assert request_page(connect(sockets))[0] == 200


HEAD = b"POST /webhooks/x/y/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
SLOW = {  # the bytes sent with the headers, and those sent slowly after them
    "silent": (b"\r\n{", b""),
    "drip": (b"\r\n{", b" "),
    "continue": (b"Expect: 100-continue\r\n\r\n", b""),
}


def test_a_sender_that_does_not_finish_is_disconnected(sockets: list[socket.socket], start: Start) -> None:
    start("import config.serving.arrival_limits as a; a.BODY_TIMEOUT = 1.0")
    lines = {name: connect(sockets) for name in SLOW}
    for name, line in lines.items():
        line.sendall(HEAD + SLOW[name][0])
    received = dict.fromkeys(lines, b"")
    open_lines = dict(lines)
    while open_lines:
        for name, line in list(open_lines.items()):
            with suppress(OSError):
                line.sendall(SLOW[name][1])
            line.settimeout(0.05)
            with suppress(TimeoutError):
                part = line.recv(1_000)
                received[name] += part
                if not part:
                    del open_lines[name]

    assert {name: b" 408 " in words for name, words in received.items()} == dict.fromkeys(SLOW, True)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1_024, 524_288, (8_192, 524_288)),
        (1_024, 4_096, (4_096, 4_096)),
        (1_024, resource.RLIM_INFINITY, (8_192, resource.RLIM_INFINITY)),
        (20_000, 20_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_a_worker_may_open_as_many_files_as_it_accepts_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: tuple[int, int] | None
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(web_server.resource, "getrlimit", lambda _which: (soft, hard))
    monkeypatch.setattr(web_server.resource, "setrlimit", lambda _which, pair: limits.append(pair))

    web_server.raise_open_file_limit()

    assert limits == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("last", "birth", "is_hung"),
    [(0.0, 0.0, False), (0.0, -31.0, False), (0.0, -61.0, False), (0.0, -91.0, True), (-29.0, -500.0, False)],
)
def test_a_worker_without_requests_for_long_is_hung(last: float, birth: float, is_hung: bool) -> None:
    now = 1_000.0
    assert worker_watch.is_hung(last=last and now + last, birth=now + birth, now=now) is is_hung


def test_a_stopped_worker_is_replaced(sockets: list[socket.socket], start: Start) -> None:
    """The parent's check runs at a short interval: it kills hung workers, and the next one answers their callers."""
    server = start(
        "import config.serving.worker_watch as w; w.PROBE_INTERVAL, w.HUNG_SECONDS, w.GRACE_SECONDS = 0.2, 3.0, 60.0"
    )
    for _ in range(CALLERS):  # both workers have answered
        assert request_page(connect(sockets))[0] == 200
    hung = children(server.pid)[0]

    os.kill(hung, signal.SIGSTOP)
    while not is_stopped(hung):
        time.sleep(0.01)
    lines = [connect(sockets) for _ in range(CALLERS)]
    for line in lines:
        line.sendall(ASK)

    assert [read_response(line)[0] for line in lines] == [200] * CALLERS
    assert hung not in children(server.pid)
