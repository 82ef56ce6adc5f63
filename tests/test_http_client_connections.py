"""The guarded HTTP client on hostile or broken connections: nothing is sent twice, and nothing fails silently."""

import gc
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pycurl
import pytest

from channels_setup import http_client
from channels_setup.http_client import addresses, resolving, transfer
from channels_setup.http_client.concurrent_calls import ConcurrentCalls
from channels_setup.http_client.kept_connections import KeptConnections
from channels_setup.http_client.transfer import Transfer
from channels_setup.http_client.url_rules import parse_url
from channels_setup.providers.base import ApiRequest
from tests.receiver import Receiver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
READ = 65_536

Serve = Callable[..., int]
Handle = Callable[[socket.socket, int], None]


@pytest.fixture(autouse=True)
def loopback_allowed(settings: Any) -> None:
    settings.RELAY_ALLOWED_PRIVATE_CIDRS = ["127.0.0.0/8", "::1/128"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Yield a function that starts a server and returns its port. ``handle`` gets each connection and its number."""
    listeners: list[socket.socket] = []

    def start(handle: Handle, host: str = "127.0.0.1", port: int = 0) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener, handle), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def accept(listener: socket.socket, handle: Handle) -> None:
    number = 0
    while True:
        try:
            connection, _address = listener.accept()
        except OSError:
            return
        threading.Thread(target=run, args=(handle, connection, number), daemon=True).start()
        number += 1


def run(handle: Handle, connection: socket.socket, number: int) -> None:
    with connection:
        try:
            handle(connection, number)
        except OSError:
            return


def answer_all(connection: socket.socket, _number: int) -> None:
    while connection.recv(READ):
        connection.sendall(OK)


def answer_with(response: bytes) -> Handle:
    def handle(connection: socket.socket, _number: int) -> None:
        connection.recv(READ)
        connection.sendall(response)

    return handle


def flood_with(first: bytes, piece: bytes, sent: list[int]) -> Handle:
    def handle(connection: socket.socket, _number: int) -> None:
        connection.recv(READ)
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            sent.append(len(piece))

    return handle


def request(
    port: int, *, host: str = "127.0.0.1", scheme: str = "http", method: str = "POST", body: bytes = b"x"
) -> Any:
    return ApiRequest(method=method, url=f"{scheme}://{host}:{port}/", headers={}, body=body)


# --- kept connections ------------------------------------------------------------------------------------


def test_a_kept_connection_that_has_ended_is_replaced(serve: Serve) -> None:
    """libcurl looks at kept connections once a second only. Nothing was sent, so the outcome is not unknown."""
    received, is_closed = [], threading.Event()

    def answer_once(connection: socket.socket, _number: int) -> None:
        received.append(connection.recv(READ))
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        is_closed.set()

    port = serve(answer_once)
    for _ in range(5):
        assert http_client.send(request(port)).status == 200
        assert is_closed.wait(5)
        is_closed.clear()

    assert len(received) == 5


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("POST", b""), ("PUT", b""), ("DELETE", b""), ("DELETE", b"x")]
)
def test_a_request_that_was_sent_is_never_repeated(serve: Serve, method: str, body: bytes) -> None:
    """libcurl repeats a request if a kept connection breaks without an answer, unless it cannot rewind the body."""
    received = []

    def break_second(connection: socket.socket, _number: int) -> None:
        received.append(connection.recv(READ))
        connection.sendall(OK)
        if second := connection.recv(READ):
            received.append(second)

    sent = request(serve(break_second), method=method, body=body)
    assert http_client.send(sent).status == 200
    if body:
        with pytest.raises(http_client.NoResponse):
            http_client.send(sent)
    else:  # on a new connection
        assert http_client.send(sent).status == 200

    assert len(received) == 2


def test_a_kept_connection_is_left_when_its_name_moves(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []

    def answer_as(name: str) -> Handle:
        def handle(connection: socket.socket, _number: int) -> None:
            while connection.recv(READ):
                reached.append(name)
                connection.sendall(OK)

        return handle

    port = serve(answer_as("old"), "127.0.0.2")
    serve(answer_as("new"), "127.0.0.3", port)
    for address in ("127.0.0.2", "127.0.0.2", "127.0.0.3"):
        monkeypatch.setattr(addresses, "resolve", lambda _host, _port, found=address: [found])
        assert http_client.send(request(port, host="moved.example")).status == 200

    assert reached == ["old", "old", "new"]


def test_connections_with_one_local_port_are_distinguished() -> None:
    kept, ports = KeptConnections(), (8001, 8002)
    pairs = [socket.socketpair() for _ in ports]
    for (ours, _theirs), port in zip(pairs, ports, strict=True):
        known = {
            pycurl.ACTIVESOCKET: ours.fileno(),
            pycurl.PRIMARY_IP: "127.0.0.2",
            pycurl.PRIMARY_PORT: port,
            pycurl.LOCAL_IP: "127.0.0.1",
            pycurl.LOCAL_PORT: 50_000,
        }
        kept.remember(type("Handle", (), {"getinfo": staticmethod(known.__getitem__)}))  # type: ignore[arg-type]
    pairs[0][1].close()

    assert [kept.has_ended(("127.0.0.2", port, "127.0.0.1", 50_000)) for port in ports] == [True, False]
    for ours, theirs in pairs:
        ours.close(), theirs.close()


def test_a_call_that_begins_again_keeps_its_addresses(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with changing addresses: meanwhile, another call tells libcurl a newer one."""
    port = serve(answer_all, "127.0.0.2")
    for address in ("127.0.0.3", "127.0.0.4"):
        serve(answer_all, address, port)
    calls, found = ConcurrentCalls(), [""]
    monkeypatch.setattr(calls._names, "get_known", lambda _target: [*found])
    use_new_connection = Transfer.use_new_connection

    def start(tag: str, address: str) -> None:
        found[0] = address
        calls.start(tag, request(port, host="moved.example"))

    def start_another(self: Transfer, handle: Any) -> None:
        monkeypatch.setattr(Transfer, "use_new_connection", use_new_connection)
        start("newer", "127.0.0.4")
        use_new_connection(self, handle)

    monkeypatch.setattr(Transfer, "use_new_connection", start_another)
    results: dict[str, Any] = {}
    for tag, address in (("old", "127.0.0.2"), ("moved", "127.0.0.3")):
        start(tag, address)
        while calls:
            results.update(calls.wait(10))

    assert {tag: getattr(result, "status", result) for tag, result in results.items()} == {
        "old": 200,
        "moved": 200,
        "newer": 200,
    }


def test_the_result_of_an_earlier_call_says_nothing_about_this_one(serve: Serve) -> None:
    port = serve(answer_all)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()[1]
    for method, body in (("POST", b"x"), ("GET", b"")):
        assert http_client.send(request(port, method=method, body=body)).status == 200
        with pytest.raises(http_client.ConnectionFailed):
            http_client.send(request(closed, method=method, body=body))


# --- addresses -------------------------------------------------------------------------------------------


def test_an_ipv6_address_is_called(serve: Serve) -> None:
    assert http_client.send(request(serve(answer_all, "::1"), host="[::1]")).status == 200


def test_the_next_address_is_tried_when_one_is_dead(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(answer_all, "127.0.0.3")
    monkeypatch.setattr(addresses, "resolve", lambda _host, _port: ["127.0.0.2", "127.0.0.3"])

    assert http_client.send(request(port, host="two.example")).status == 200


def test_both_address_families_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose IPv6 is broken may have more IPv6 addresses than are tried."""
    six = [f"2606:4700::{number}" for number in range(1, 9)]
    monkeypatch.setattr(addresses, "resolve", lambda _host, _port: [*six, "93.184.216.34"])

    found = resolving.resolve_checked(parse_url("https://hooks.example/"))
    assert found == [six[0], "93.184.216.34", six[1], six[2]]


def test_the_name_that_is_resolved_is_the_one_that_is_called(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = []

    def resolve(host: str, _port: int) -> list[str]:
        resolved.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", resolve)
    http_client.send(request(serve(answer_all), host="faß.example"))

    assert resolved == ["xn--fa-hia.example"]


def test_calls_to_one_slow_name_share_one_lookup(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups run in few threads: those of one slow name must not take them all."""
    is_found, resolved = threading.Event(), []

    def resolve(host: str, _port: int) -> list[str]:
        resolved.append(host)
        assert host != "slow.example" or is_found.wait(30)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", resolve)
    calls = ConcurrentCalls()
    for number in range(40):
        calls.start(number, request(receiver.port, host="slow.example"))
    calls.start("fast", request(receiver.port, host="fast.example"))

    assert [tag for tag, _result in calls.wait(20)] == ["fast"]
    is_found.set()
    results: dict[Any, Any] = {}
    while calls:
        results.update(calls.wait(20))
    assert [result.status for result in results.values()] == [200] * 40
    assert sorted(resolved) == ["fast.example", "slow.example"]


def test_a_wake_up_ends_a_wait_while_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    is_found = threading.Event()
    monkeypatch.setattr(addresses, "resolve", lambda _host, _port: is_found.wait(30) and ["127.0.0.1"])
    calls = ConcurrentCalls()
    calls.start(None, request(9, host="slow.example"))
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(b"x")
        began = time.monotonic()

        assert calls.wait(10, watch=reader) == []
    assert time.monotonic() - began < 5
    is_found.set()


def test_a_name_that_is_found_during_the_look_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class JustFound(Future[list[str]]):
        looks = 0

        def done(self) -> bool:
            self.looks += 1
            return self.looks > 1

    class Threads:
        def submit(self, *_arguments: Any) -> JustFound:
            future = JustFound()
            future.set_result(["127.0.0.1"])
            return future

    monkeypatch.setattr(resolving, "_threads", lambda _process: Threads())
    names = resolving.NameLookups(keep_seconds=0, wake=lambda: None)
    names.start(parse_url("https://hooks.example/"), "call", deadline=time.monotonic() + 60)

    assert [*names.collect(), *names.collect()] == [("call", ["127.0.0.1"])]


def test_a_forked_process_resolves_names(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda _host, _port: ["127.0.0.1"])
    named = request(receiver.port, host="hooks.example")
    calls = [ConcurrentCalls() for _ in range(20)]  # so that every thread of the parent exists
    for each in calls:
        each.start(None, named)
    assert all(each.wait(20) for each in calls)
    if not (child := os.fork()):
        signal.alarm(20)
        try:
            os._exit(0 if http_client.send(named, seconds=10).status == 200 else 1)
        except BaseException:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 50_000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 9_000 + b"\r\n\r\n"),
    ],
    ids=["large headers", "many headers", "one endless header", "endless hints"],
)
def test_endless_headers_are_cut(serve: Serve, first: bytes, piece: bytes) -> None:
    sent: list[int] = []
    with pytest.raises(http_client.NoResponse):
        http_client.send(request(serve(flood_with(first, piece, sent))))

    assert sum(sent) < 20_000_000  # what the kernel buffers included


@pytest.mark.parametrize("first", [b"5;", b"2\r\nok\r\n0\r\n"], ids=["chunk extension", "trailers"])
def test_endless_chunk_extensions_and_trailers_are_cut(serve: Serve, first: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    began = time.monotonic()
    answer = http_client.send(request(serve(flood_with(head + first, b"x-a: b\r\n" * 100, []))), seconds=1.5)

    assert answer.status == 200 and not answer.is_complete
    assert answer.headers == {"transfer-encoding": "chunked"}
    assert time.monotonic() - began < 5


def test_a_response_that_arrived_during_a_pause_is_read(serve: Serve) -> None:
    """The thread may wait for the database for longer than the deadline of its calls."""

    def answer_late(connection: socket.socket, _number: int) -> None:
        connection.recv(READ)
        time.sleep(0.3)
        connection.sendall(OK)
        connection.recv(READ)

    hanging = serve(lambda connection, _number: connection.recv(READ) and time.sleep(10))
    calls = ConcurrentCalls()
    for tag, port in (("answered", serve(answer_late)), ("hanging", hanging)):
        calls.start(tag, request(port), seconds=1.0)
    assert calls.wait(0.1) == []
    time.sleep(1.5)
    results: dict[str, Any] = {}
    while calls:
        results.update(calls.wait(5))

    assert results["answered"].status == 200
    assert isinstance(results["hanging"], http_client.NoResponse)


def test_a_call_that_began_before_a_pause_connects(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread may wait for the database right after it has started a call."""
    monkeypatch.setattr(transfer, "CONNECT_SECONDS", 0.5)
    calls = ConcurrentCalls()
    calls.start(
        "answered", request(serve(lambda connection, _number: connection.recv(READ) and connection.sendall(OK)))
    )
    assert calls.wait(0) == []  # the connection begins
    time.sleep(1.2)
    [(_tag, result)] = calls.wait(5)

    assert result.status == 200


def test_a_request_that_nobody_reads_ends_at_the_deadline(serve: Serve) -> None:
    stop = threading.Event()
    port = serve(lambda _connection, _number: stop.wait(30) and None)
    began = time.monotonic()
    with pytest.raises(http_client.NoResponse):
        http_client.send(request(port, body=b"x" * 30_000_000), seconds=1.0)
    with pytest.raises(http_client.ConnectionFailed):  # a TLS handshake that nobody answers
        http_client.send(request(port, scheme="https"), seconds=1.0)
    stop.set()

    assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/2 200\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nabcde",
    ],
)
def test_a_response_that_is_not_plain_http_is_no_response(serve: Serve, response: bytes) -> None:
    with pytest.raises(http_client.NoResponse):
        http_client.send(request(serve(answer_with(response))))


def test_a_body_that_is_cut_off_is_said_to_be_incomplete(serve: Serve) -> None:
    short = serve(answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))

    answer = http_client.send(request(short))
    assert (answer.status, answer.body, answer.is_complete) == (200, b"abc", False)
    assert http_client.send(request(serve(answer_all))).is_complete


# --- nothing but the request ------------------------------------------------------------------------------


def test_nothing_of_a_response_is_remembered(receiver: Receiver) -> None:
    remembered = {
        "Set-Cookie": "session=1; Path=/",
        "Strict-Transport-Security": "max-age=9999",
        "Alt-Svc": 'h2="127.0.0.1:9"; ma=9999',
    }
    receiver.answer("/a", headers=remembered)
    receiver.answer("/b", status=401, headers={"WWW-Authenticate": "Basic, Negotiate, NTLM"})
    for path in ("/a", "/a", "/b"):
        http_client.send(ApiRequest(method="POST", url=receiver.url(path), headers={}, body=b"x"))

    assert [each.path for each in receiver.requests] == ["/a", "/a", "/b"]
    assert not any({"cookie", "authorization"} & set(each.headers) for each in receiver.requests)


def test_files_and_proxies_of_the_user_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("default login anna password secret\n")
    (tmp_path / ".curlrc").write_text('user-agent = "curlrc"\nproxy = "http://127.0.0.1:9"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert http_client.send(request(receiver.port)).status == 200
    assert receiver.requests[0].headers["user-agent"] == "Okno"
    assert "authorization" not in receiver.requests[0].headers


def test_only_http_1_is_offered_to_a_tls_server(serve: Serve) -> None:
    hello: list[bytes] = []
    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(request(serve(lambda connection, _n: hello.append(connection.recv(READ))), scheme="https"))

    assert b"\x08http/1.1" in hello[0] and b"\x02h2" not in hello[0]


def test_a_large_request_waits_for_no_permission(receiver: Receiver) -> None:
    http_client.send(request(receiver.port, body=b"x" * 3_000_000))

    assert "expect" not in receiver.requests[0].headers and len(receiver.requests[0].body) == 3_000_000


# --- problems of ours -------------------------------------------------------------------------------------


class Interrupted(Exception):
    """As Celery's soft time limit: raised by a signal wherever Python runs."""


@pytest.mark.parametrize("place", ["open_socket", "register"])
def test_an_interruption_inside_libcurl_ends_the_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """libcurl's callbacks cannot raise: an exception would be printed and forgotten."""

    def interrupt(*_arguments: Any) -> None:
        raise Interrupted

    port, calls = serve(answer_all), ConcurrentCalls()
    if place == "open_socket":
        monkeypatch.setattr(transfer, "open_socket", interrupt)
    else:
        monkeypatch.setattr(calls._selector, "register", interrupt)
    calls.start(None, request(port))
    with pytest.raises(Interrupted):
        while calls:
            calls.wait(5)
    monkeypatch.undo()
    calls.cancel_all()
    assert len(calls) == 0


def test_an_interruption_of_a_start_leaves_no_call_behind(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its response would be taken for that of the thread's next call."""
    begin = ConcurrentCalls._begin

    def begin_and_interrupt(self: ConcurrentCalls, *arguments: Any) -> None:
        begin(self, *arguments)
        raise Interrupted

    def answer_late(connection: socket.socket, number: int) -> None:
        time.sleep(0.5)
        answer_all(connection, number)

    other = serve(answer_with(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    with monkeypatch.context() as patch:
        patch.setattr(ConcurrentCalls, "_begin", begin_and_interrupt)
        with pytest.raises(Interrupted):
            http_client.send(request(other))

    assert http_client.send(request(serve(answer_late))).status == 200


def test_an_exchange_that_cannot_be_started_is_not_waited_for() -> None:
    def fail() -> http_client.Exchange[None]:
        yield from ()
        raise Interrupted

    running: http_client.RunningExchanges[None] = http_client.RunningExchanges()
    with pytest.raises(Interrupted):
        running.start(fail())

    assert not running


def test_no_thread_left_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_process: int) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(resolving, "_threads", fail)
    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(request(9, host="hooks.example"))


def test_no_socket_left_is_a_failed_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_target: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(transfer, "open_socket", fail)
    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(request(serve(answer_all)))


def test_an_address_without_a_socket_is_passed_over(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without IPv6 cannot even open such a socket."""
    open_socket = transfer.open_socket

    def fail_once(target: Any) -> Any:
        if target.addr[0] == "127.0.0.2":
            raise OSError(97, "Address family not supported by protocol")
        return open_socket(target)

    monkeypatch.setattr(transfer, "open_socket", fail_once)
    monkeypatch.setattr(addresses, "resolve", lambda _host, _port: ["127.0.0.2", "127.0.0.1"])
    assert http_client.send(request(serve(answer_all), host="two.example")).status == 200


def test_a_full_disk_is_no_complete_file(serve: Serve) -> None:
    class FullDisk:
        def write(self, _data: bytes) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        http_client.send(request(serve(answer_all)), into=FullDisk())  # type: ignore[arg-type]


def test_a_call_that_has_ended_keeps_no_content(serve: Serve) -> None:
    """Handles are used again, and an upload has up to 100 MB."""
    calls, sent = ConcurrentCalls(), request(serve(answer_all), body=b"x" * 1_000_000)
    kept = weakref.ref(sent)
    calls.start(None, sent)
    ((_tag, response),) = calls.wait(10)
    assert response.status == 200
    del sent
    gc.collect()

    assert kept() is None


def test_an_unreadable_response_leaves_the_other_calls_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours after the request was sent is an unknown outcome, never a reason to send again."""

    def fail(body: bytes, **_request: Any) -> bytes:
        if b"bad" in body:
            raise RecursionError
        return body

    monkeypatch.setattr(transfer, "redact_echo", fail)
    calls = ConcurrentCalls()
    calls.start("bad", request(serve(answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"))))
    calls.start("good", request(serve(answer_all)))
    results: dict[str, Any] = {}
    while calls:
        results.update(calls.wait(5))

    assert isinstance(results["bad"], http_client.NoResponse)
    assert results["good"].status == 200
    assert "response not read" in caplog.text


def test_a_thread_that_ends_leaves_no_open_files(serve: Serve) -> None:
    port = serve(answer_all)

    def work() -> None:
        http_client.send(request(port))

    def count_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = count_files()
    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    deadline = time.monotonic() + 10
    while count_files() > before + 5 and time.monotonic() < deadline:  # the server's side closes soon after
        time.sleep(0.02)

    assert count_files() <= before + 5
