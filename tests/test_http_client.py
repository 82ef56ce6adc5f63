"""The guarded HTTP client: which addresses it may call, and its deadlines."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycurl
import pytest

from channels_setup import http_client
from channels_setup.http_client import addresses, certificates, concurrent_calls, transfer
from channels_setup.http_client.concurrent_calls import ConcurrentCalls
from channels_setup.providers.base import ApiRequest
from tests.receiver import Receiver

HOSTILE = """
127.0.0.1 127.1.2.3 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200
192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 ::1 :: ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2001::1 2001:db8::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fec0::1 ff02::1 100::1 168.63.129.16 ::ffff:0:127.0.0.1 ::ffff:0:169.254.169.254 2002:a9fe:a9fe:: ::169.254.169.254
64:ff9b:1::a9fe:a9fe 2001:0:5601:5601::1
""".split()
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"]

Resolver = Callable[[str, int], list[str]]


@pytest.fixture(autouse=True)
def private_ranges_closed(settings: Any) -> None:
    settings.RELAY_ALLOWED_PRIVATE_CIDRS = []


@pytest.fixture
def resolves_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_answers(*found: str) -> None:
        monkeypatch.setattr(addresses, "resolve", lambda host, port: list(found))

    return set_answers


@pytest.fixture
def tried_addresses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record every address to which a connection is attempted; no connection is made."""
    tried: list[tuple[str, int]] = []

    def refuse(target: Any) -> Any:
        tried.append(target.addr[:2])
        return pycurl.SOCKET_BAD

    monkeypatch.setattr(transfer, "open_socket", refuse)
    return tried


def post(url: str) -> ApiRequest:
    return ApiRequest(method="POST", url=url, headers={"content-type": "text/plain"}, body=b"hello")


@pytest.mark.parametrize("address", HOSTILE)
def test_an_internal_address_is_refused_on_save_and_at_every_call(
    address: str, resolves_to: Callable[..., None], tried_addresses: list[tuple[str, int]]
) -> None:
    resolves_to(address)

    with pytest.raises(http_client.ForbiddenAddress):
        http_client.check_url("https://hooks.example/x")
    with pytest.raises(http_client.ForbiddenAddress):
        http_client.send(post("https://hooks.example/x"))
    assert tried_addresses == []


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called_exactly_as_resolved(
    address: str, resolves_to: Callable[..., None], tried_addresses: list[tuple[str, int]]
) -> None:
    resolves_to(address)

    http_client.check_url("https://hooks.example/x")
    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(post("https://hooks.example/x"))
    assert tried_addresses == [(address, 443)]


def test_a_name_with_one_forbidden_address_is_refused(
    resolves_to: Callable[..., None], tried_addresses: list[tuple[str, int]]
) -> None:
    resolves_to("93.184.216.34", "127.0.0.1")

    with pytest.raises(http_client.ForbiddenAddress):
        http_client.send(post("https://hooks.example/x"))
    assert tried_addresses == []


def test_a_name_that_changes_after_the_check_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, tried_addresses: list[tuple[str, int]]
) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"] * 20)
    monkeypatch.setattr(addresses, "resolve", lambda host, port: [next(answers)])

    for _ in range(20):
        with pytest.raises((http_client.ForbiddenAddress, http_client.ConnectionFailed)):
            http_client.send(post("https://hooks.example/x"))
    assert {address for address, _port in tried_addresses} == {"93.184.216.34"}


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https://user:pass@hooks.example/",
        "https://hooks.example:22/",
        "https://hooks.example:5432/",
        "https://hooks.example:99999/",
        "https://hooks.example\\@127.0.0.1/",
        "https:///x",
        "https://",
        "hooks.example",
        "//hooks.example/",
        "https://hooks.example/ x",
        "https://[::1/",
        "javascript:alert(1)",
    ],
)
def test_an_unsafe_url_is_refused_with_an_explanation(
    url: str, resolves_to: Callable[..., None], tried_addresses: list[tuple[str, int]]
) -> None:
    resolves_to("93.184.216.34")

    with pytest.raises(http_client.ForbiddenAddress) as problem:
        http_client.check_url(url)
    assert str(problem.value).endswith(".")
    with pytest.raises(http_client.ForbiddenAddress):
        http_client.send(post(url))
    assert tried_addresses == []


@pytest.mark.parametrize("text", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_other_spellings_of_loopback_are_judged_by_their_address(text: str) -> None:
    with pytest.raises(http_client.ForbiddenAddress):
        http_client.check_url(f"https://{text}/")


def test_allowed_ranges_open_exactly_those_addresses(settings: Any, resolves_to: Callable[..., None]) -> None:
    settings.RELAY_ALLOWED_PRIVATE_CIDRS = ["10.1.0.0/16", "169.254.0.0/16"]

    resolves_to("10.1.2.3")
    http_client.check_url("http://intranet:9000/hook")
    for address in ("10.2.0.1", "127.0.0.1", "169.254.169.254"):
        resolves_to(address)
        with pytest.raises(http_client.ForbiddenAddress):
            http_client.check_url("http://intranet:9000/hook")


@pytest.mark.parametrize(
    "address",
    "169.254.169.254 168.63.129.16 100.100.100.200 ::ffff:169.254.169.254 ::ffff:0:169.254.169.254 ::169.254.169.254"
    " 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe 2002:a9fe:a9fe:: 2002:a83f:8110::1 fd00:ec2::254 ::"
    " 2001:0:a9fe:a9fe:0:0:0:0".split(),
)
def test_the_metadata_address_is_forbidden_in_any_case(settings: Any, address: str) -> None:
    settings.RELAY_ALLOWED_PRIVATE_CIDRS = ["0.0.0.0/0", "::/0"]
    assert not addresses.judge_address(address).allowed


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", ".example", "xn--" + "a" * 80, "ü" * 64, "a" * 300])
def test_an_invalid_name_is_not_found(host: str) -> None:
    """With the real resolver: these names fail before any query."""
    with pytest.raises((http_client.ForbiddenAddress, http_client.ConnectionFailed)):
        http_client.check_url(f"https://{host}/")
    with pytest.raises((http_client.ForbiddenAddress, http_client.ConnectionFailed)):
        http_client.send(post(f"https://{host}/"))


# --- on loopback, allowed --------------------------------------------------------------------------------


@pytest.fixture
def open_loopback(settings: Any) -> None:
    settings.RELAY_ALLOWED_PRIVATE_CIDRS = ["127.0.0.0/8"]


@pytest.mark.usefixtures("open_loopback")
def test_a_redirect_is_returned_and_not_followed(receiver: Receiver) -> None:
    receiver.answer("/a", status=307, headers={"Location": receiver.url("/secret")})

    answer = http_client.send(post(receiver.url("/a")))

    assert answer.status == 307
    assert [request.path for request in receiver.requests] == ["/a"]


@pytest.mark.usefixtures("open_loopback")
def test_the_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert http_client.send(post(receiver.url("/a"))).status == 200


@pytest.mark.usefixtures("open_loopback")
def test_a_response_is_cut_and_never_decompressed(receiver: Receiver) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    receiver.answer("/bomb", body=bomb, headers={"Content-Encoding": "gzip"})
    receiver.answer("/fat", body=b"x" * 5_000_000)

    assert http_client.send(post(receiver.url("/bomb"))).body == bomb[: transfer.MAX_RESPONSE_BYTES]
    assert len(http_client.send(post(receiver.url("/fat"))).body) == transfer.MAX_RESPONSE_BYTES
    assert http_client.send(post(receiver.url("/next"))).status == 200


@pytest.mark.usefixtures("open_loopback")
def test_a_connection_is_reused(receiver: Receiver) -> None:
    for _ in range(5):
        http_client.send(post(receiver.url("/a")))

    assert len({request.headers["host"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == 5


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes, bytes], str]]:
    """Yield a function that starts a server:

    it sends ``first`` at once, then ``again`` every 50 ms, and returns its URL.
    """
    monkeypatch.setattr(concurrent_calls, "DEADLINE_SECONDS", 2.0)
    stop = threading.Event()
    listeners: list[socket.socket] = []

    def serve(first: bytes, again: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(first)
                    while again and not stop.wait(0.05):
                        connection.sendall(again)
                    stop.wait(10)
                except OSError:
                    return

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    stop.set()
    for listener in listeners:
        listener.close()


@pytest.mark.usefixtures("open_loopback")
@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
    ],
    ids=["silence", "headers drip", "100 for ever"],
)
def test_a_response_that_never_comes_is_cut_at_the_deadline(
    slow_server: Callable[[bytes, bytes], str], first: bytes, again: bytes
) -> None:
    url = slow_server(first, again)
    started = time.monotonic()

    with pytest.raises(http_client.NoResponse):
        http_client.send(post(url))

    assert time.monotonic() - started < 8


@pytest.mark.usefixtures("open_loopback")
def test_a_name_resolved_after_the_deadline_is_not_called(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    call_ended = threading.Event()

    def found_late(_host: str, _port: int) -> list[str]:
        assert call_ended.wait(30)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", found_late)

    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(post(receiver.url("/a").replace("127.0.0.1", "hooks.example")), seconds=0.3)
    call_ended.set()

    assert receiver.requests == []


def test_concurrent_first_calls_read_the_certificate_authorities_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fresh worker starts many calls at once. Reading the files in each took longer than a lease."""
    together, read = threading.Barrier(8), []
    real = certificates._authority_files

    def slowly() -> Iterator[Path]:
        read.append(1)
        time.sleep(0.2)
        return real()

    def first_call() -> None:
        together.wait(5)
        certificates.authorities_path()

    monkeypatch.setattr(certificates, "_authority_files", slowly)
    certificates._write_authorities.cache_clear()
    threads = [threading.Thread(target=first_call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(read) == 1


def test_certificates_are_checked_even_without_system_authorities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    certificates._write_authorities.cache_clear()

    context = ssl.create_default_context(cafile=certificates.authorities_path())

    certificates._write_authorities.cache_clear()
    assert len(context.get_ca_certs()) > 50


@pytest.mark.usefixtures("open_loopback")
def test_a_header_cannot_begin_another_line(receiver: Receiver) -> None:
    for headers in ({"x-a": "b\r\nx-secret: c"}, {"x-a\nx-b": "c"}, {"x-a: b": "c"}):
        with pytest.raises(http_client.ConnectionFailed):
            http_client.send(ApiRequest(method="POST", url=receiver.url("/a"), headers=headers, body=b""))
    assert receiver.requests == []


@pytest.mark.usefixtures("open_loopback")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_arrives_as_it_was_built(receiver: Receiver, method: str) -> None:
    body = b"" if method in ("GET", "DELETE") else "тело".encode() * 50_000
    headers = {"Content-Type": "application/json", "X-Empty": ""} if body else {}
    http_client.send(ApiRequest(method=method, url=receiver.url("/a/../b?q=ж&r=%D0%B6"), headers=headers, body=body))

    (request,) = receiver.requests
    assert request.body == body and request.headers.get("content-type") == headers.get("Content-Type")
    assert request.headers["user-agent"] == "Okno" and request.headers["accept-encoding"] == "identity"
    assert "expect" not in request.headers and "accept" not in request.headers


@pytest.mark.usefixtures("open_loopback")
def test_many_calls_run_at_once_in_one_thread(receiver: Receiver) -> None:
    receiver.answer("/slow", delay=0.5)
    calls = ConcurrentCalls()
    started = time.monotonic()
    for number in range(100):
        calls.start(number, post(receiver.url("/slow")))
    results = {}
    while calls:
        results.update(calls.wait(5))

    assert time.monotonic() - started < 10  # one after another would take 50 s
    assert {number: result.status for number, result in results.items()} == dict.fromkeys(range(100), 200)


@pytest.mark.usefixtures("open_loopback")
def test_a_slow_name_delays_no_other_call(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    is_found = threading.Event()

    def resolve(host: str, _port: int) -> list[str]:
        assert host != "slow.example" or is_found.wait(30)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", resolve)
    calls = ConcurrentCalls()
    calls.start("slow", post(receiver.url("/a").replace("127.0.0.1", "slow.example")))
    calls.start("fast", post(receiver.url("/a").replace("127.0.0.1", "fast.example")))

    assert [tag for tag, _result in calls.wait(20)] == ["fast"]
    is_found.set()
    assert [(tag, result.status) for tag, result in calls.wait(20)] == [("slow", 200)]


@pytest.mark.usefixtures("open_loopback")
def test_a_slow_body_is_cut_and_the_status_counts(slow_server: Callable[[bytes, bytes], str]) -> None:
    url = slow_server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x")

    answer = http_client.send(post(url))

    assert answer.status == 200
    assert len(answer.body) < 1000


@pytest.mark.usefixtures("open_loopback")
@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n", b"\x16\x03\x01" * 50],
)
def test_an_unreadable_response_is_an_unknown_outcome(
    slow_server: Callable[[bytes, bytes], str], garbage: bytes
) -> None:
    with pytest.raises(http_client.NoResponse):
        http_client.send(post(slow_server(garbage, b"")))


@pytest.mark.usefixtures("open_loopback")
def test_our_own_servers_cannot_be_called(settings: Any) -> None:
    redis = settings.REDIS_URL.rpartition(":")[2].partition("/")[0]
    for port in (settings.DATABASES["default"]["PORT"], redis):
        with pytest.raises(http_client.ForbiddenAddress):
            http_client.check_url(f"http://127.0.0.1:{port}/")
