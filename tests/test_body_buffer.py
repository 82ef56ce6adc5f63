"""The request buffer before Django: unfinished bodies take no worker slot, and unknown webhook tokens cost nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from io import BytesIO
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse

from bridge.intake import flood_guard as module
from bridge.intake.flood_guard import MAX_LOOKUPS_PER_SECOND, UnknownTokenGuard
from bridge.raw_requests import MAX_BYTES_WITH_FILES
from channels_setup import encryption
from config.serving import late_bodies
from config.serving.arrival_limits import Arrivals, BodyTooSlow, TooManyArrivals
from config.serving.body_buffer import MAX_ANONYMOUS_BYTES, MAX_IN_MEMORY, BodyBuffer
from tests.factories import ApiChannelFactory, ChatChannelFactory

PATIENCE = 20


@pytest.fixture
def gate() -> Iterator[Callable[..., BodyBuffer]]:
    made: list[BodyBuffer] = []

    def make(view: Callable[[Any], Any], *, slots: int = 1, is_refused: Any = lambda path: False) -> BodyBuffer:
        def application(environ: dict[str, Any], start_response: Any) -> Any:
            response = view(environ)
            start_response(f"{response.status_code} ", list(response.items()))
            return response

        made.append(BodyBuffer(application, slots=slots, is_refused=is_refused))
        return made[-1]

    yield make
    for each in made:
        while not each.slots.free.empty():
            each.slots.free.get().close()


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Run in a thread of its own, as the web server does: the buffer changes the thread's database connection."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(PATIENCE)


def post(gate: BodyBuffer, body: Any, *, length: int | None = None, **environ: str) -> tuple[str, bytes]:
    statuses: list[str] = []
    source = BytesIO(body) if isinstance(body, bytes) else body
    declared = len(body) if length is None else length
    environ = {"PATH_INFO": "/uapi/", "CONTENT_LENGTH": str(declared)} | environ

    def call() -> bytes:
        return b"".join(gate({**environ, "wsgi.input": source}, lambda status, headers: statuses.append(status)))

    answer = in_a_thread(call)
    return statuses[0][:3], answer


class SlowBody:
    """A body that ends when the test sets ``end``."""

    def __init__(self) -> None:
        self.asked, self.end = threading.Event(), threading.Event()
        self.parts = [b"{", b"}"]

    def read(self, _size: int) -> bytes:
        if len(self.parts) == 1:
            self.asked.set()
            assert self.end.wait(PATIENCE)
        return self.parts.pop(0) if self.parts else b""


def test_an_unfinished_request_does_not_block_others(gate: Callable[..., BodyBuffer]) -> None:
    one_slot = gate(lambda environ: HttpResponse(environ["wsgi.input"].read()), slots=1)
    slow, answers = SlowBody(), []
    waiting = threading.Thread(target=lambda: answers.append(post(one_slot, slow, length=2)))
    waiting.start()
    assert slow.asked.wait(PATIENCE)

    quick = post(one_slot, b"[]")
    slow.end.set()
    waiting.join(PATIENCE)

    assert quick == ("200", b"[]")
    assert answers == [("200", b"{}")]


@pytest.mark.django_db(transaction=True)
def test_a_slot_keeps_its_database_connection_across_threads(gate: Callable[..., BodyBuffer]) -> None:
    def backend(_environ: Any) -> HttpResponse:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return HttpResponse(str(cursor.fetchone()[0]))

    one_slot, answers = gate(backend), []
    threads = [threading.Thread(target=lambda: answers.append(post(one_slot, b"{}"))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(answers) == 4
    assert len(set(answers)) == 1


def test_a_failing_view_releases_its_slot(gate: Callable[..., BodyBuffer]) -> None:
    def fails(_environ: Any) -> HttpResponse:
        raise RuntimeError

    one_slot = gate(fails)

    for _ in range(2):
        with pytest.raises(RuntimeError):
            post(one_slot, b"")

    assert one_slot.slots.free.qsize() == 1


def test_a_slow_reader_of_a_long_response_holds_no_slot(gate: Callable[..., BodyBuffer]) -> None:
    one_slot = gate(lambda environ: StreamingHttpResponse(iter([b"a", b"b"])))

    answer = in_a_thread(lambda: one_slot({"PATH_INFO": "/", "wsgi.input": BytesIO()}, lambda *_: None))
    first = next(answer)

    assert first == b"a"
    assert one_slot.slots.free.qsize() == 1
    assert post(one_slot, b"") == ("200", b"ab")
    in_a_thread(answer.close)  # as the server does; closed here, it would ask for the connection of earlier tests


@pytest.fixture
def behind_proxy(settings: Any) -> None:
    settings.BEHIND_PROXY = True


@pytest.mark.usefixtures("behind_proxy")
@pytest.mark.parametrize("size", [0, 2, MAX_IN_MEMORY, MAX_IN_MEMORY + 1, 3 * MAX_IN_MEMORY])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_reaches_the_view_whole(gate: Callable[..., BodyBuffer], size: int, chunked: bool) -> None:
    echo, body = gate(lambda environ: HttpResponse(environ["wsgi.input"].read())), b"[]" + b" " * (size - 2)
    body = body if size or chunked else b""
    how = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""} if chunked else {}

    assert post(echo, body, **how) == ("200", body)


@pytest.mark.usefixtures("behind_proxy")
def test_an_oversized_body_is_not_read_to_its_end(gate: Callable[..., BodyBuffer]) -> None:
    echo = gate(lambda environ: HttpResponse(environ["wsgi.input"].read()))
    echo.max_bytes = 100_000

    response = post(echo, b"", length=100_001)
    counted = post(echo, b"x" * 200_000, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")

    assert response[0] == counted[0] == "413"


FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=XX"
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
WHOLE_PARTS = b'--XX\r\nContent-Disposition: form-data; name="text"\r\n\r\nwords --\r\n--XX--\r\n'


@pytest.mark.usefixtures("behind_proxy")
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"text": "words"}', "200"),
        ("application/json", b"12", "400"),
        ("application/json", b"1.5", "400"),
        ("application/json", b"true", "200"),
        ("application/json", b'{"text": "wor', "400"),
        ("application/json", b"", "400"),
        ("", b'{"text": "words"}', "200"),
        ("text/plain", b'{"text"', "400"),
        (PARTS, WHOLE_PARTS, "200"),
        *((PARTS, WHOLE_PARTS[:length], "400") for length in range(0, len(WHOLE_PARTS) - 2, 7)),
        ("multipart/form-data", WHOLE_PARTS[:-10], "400"),
        (FORM, b"text=words", "411"),
        (FORM + "; charset=utf-8", b"text=words", "411"),
    ],
)
def test_a_chunked_body_is_accepted_only_if_its_end_is_visible(
    gate: Callable[..., BodyBuffer], content_type: str, body: bytes, status: str
) -> None:
    views: list[bytes] = []

    def view(environ: Any) -> HttpResponse:
        views.append(environ["wsgi.input"].read())
        return HttpResponse()

    assert post(gate(view), body, CONTENT_TYPE=content_type, **CHUNKED)[0] == status
    assert views == ([body] if status == "200" else [])


@pytest.mark.parametrize(
    ("content_type", "body"), [("application/json", b"{}"), ("", b"[]"), (FORM, b"a=1"), (PARTS, WHOLE_PARTS)]
)
def test_without_a_proxy_a_chunked_body_is_refused(
    gate: Callable[..., BodyBuffer], content_type: str, body: bytes
) -> None:
    assert post(gate(echo), body, CONTENT_TYPE=content_type, **CHUNKED)[0] == "411"


@pytest.mark.parametrize("content_type", ["application/json", FORM, PARTS, ""])
@pytest.mark.parametrize("missing", [1, 5, 4096])
def test_a_body_shorter_than_declared_reaches_no_view(
    gate: Callable[..., BodyBuffer], content_type: str, missing: int
) -> None:
    body = b'{"a": 1}'

    response = post(
        gate(lambda environ: HttpResponse("seen")), body, length=len(body) + missing, CONTENT_TYPE=content_type
    )

    assert (response[0], b"incomplete_body" in response[1]) == ("400", True)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", "200"),
        ("application/json", "200"),
        ("application/json; charset=utf-8", "200"),
        ("application/json; charset=windows-1251", "200"),
        ("multipart/form-data; boundary=----x", "200"),
        ("text/plain; charset=", "200"),
        ("a/b; x*=nosuch''y", "400"),
        ("a/b; x*=utf-8''%FF", "200"),
        ("a/b; x*" + "9" * 400 + "=1", "200"),
        ("a/b; x*" + "9" * 4999 + "=1", "400"),
        *(
            (f"application/x-www-form-urlencoded; charset={name}", "400")
            for name in ("zlib", "undefined", "nonsense", "hex", "base64", "utf-8\0", "\0", "rot13")
        ),
    ],
)
def test_a_content_type_that_django_cannot_read_is_refused(
    gate: Callable[..., BodyBuffer], header: str, status: str
) -> None:
    def view(environ: Any) -> HttpResponse:
        request = WSGIRequest(environ | {"REQUEST_METHOD": "POST"})
        return HttpResponse(str(dict(request.POST)))

    assert post(gate(view), b"a=1", CONTENT_TYPE=header)[0] == status


def echo(environ: Any) -> HttpResponse:
    return HttpResponse(environ["wsgi.input"].read())


def test_unfinished_bodies_of_one_address_leave_slots_for_others(
    gate: Callable[..., BodyBuffer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.serving.arrival_limits.MAX_BODIES_PER_ADDRESS", 1)
    one = gate(echo)
    slow, answers = SlowBody(), []
    waiting = threading.Thread(target=lambda: answers.append(post(one, slow, length=2, REMOTE_ADDR="203.0.113.7")))
    waiting.start()
    assert slow.asked.wait(PATIENCE)

    same = post(one, b"{}", REMOTE_ADDR="203.0.113.7")
    other = post(one, b"{}", REMOTE_ADDR="198.51.100.9")
    slow.end.set()
    waiting.join(PATIENCE)

    assert (same[0], other, answers) == ("503", ("200", b"{}"), [("200", b"{}")])
    assert post(one, b"{}", REMOTE_ADDR="203.0.113.7")[0] == "200"
    assert (one.arrivals.unfinished, one.arrivals.bytes_in_all, one.arrivals.bodies) == (set(), 0, {})


def test_unfinished_bodies_are_limited_in_total(
    gate: Callable[..., BodyBuffer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.serving.arrival_limits.MAX_BODIES", 0)
    monkeypatch.setattr("config.serving.arrival_limits.RESERVED_BODIES", 0)
    assert post(gate(echo), b"{}")[0] == "503"
    assert post(gate(echo), b"")[0] == "200"


def test_the_reserve_admits_addresses_with_few_unfinished_bodies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "MAX_BODIES": 4,
        "GUARANTEED_PER_ADDRESS": 1,
        "RESERVED_BODIES": 2,
        "MAX_BODIES_PER_ADDRESS": 3,
    }.items():
        monkeypatch.setattr(f"config.serving.arrival_limits.{name}", value)
    arrivals, admitted = Arrivals(), []
    with ExitStack() as stack:
        for address in "aaaabbccdde":
            with suppress(TooManyArrivals):
                stack.enter_context(arrivals.arriving(address))
                admitted.append(address)

    assert "".join(admitted) == "aaab" + "cd"  # then the reserve is full, too
    assert (arrivals.unfinished, arrivals.bodies) == (set(), {})


def test_the_body_deadline_is_shorter_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("config.serving.arrival_limits.time.monotonic", lambda: now[0])
    monkeypatch.setattr("config.serving.arrival_limits.CROWDED_BODIES", 2)
    arrivals = Arrivals()
    with arrivals.arriving("a", peer="proxy") as first:
        now[0] += 30
        alone = arrivals.expire()
        with arrivals.arriving("b", peer="other") as second:
            crowded = arrivals.expire()
        now[0] += 30
        late = arrivals.expire()
        with pytest.raises(BodyTooSlow):
            first.check_deadline()
    second.check_deadline()

    assert alone == (set(), 60.0)
    assert crowded == ({"proxy"}, 10.0)
    assert late == ({"proxy"}, 60.0)
    assert arrivals.expire() == (set(), 60.0)


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_BYTES_PER_ADDRESS"])
def test_buffered_bytes_are_limited(
    gate: Callable[..., BodyBuffer], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"config.serving.arrival_limits.{limit}", 10)
    one = gate(echo)

    assert [post(one, b"x" * size)[0] for size in (10, 11, 10)] == ["200", "503", "200"]


def test_a_slow_body_has_a_deadline(gate: Callable[..., BodyBuffer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.serving.arrival_limits.BODY_TIMEOUT", -1)
    assert post(gate(echo), b"{}")[0] == "408"


def test_only_connections_of_late_bodies_are_closed() -> None:
    """With `seconds=0`, no connection counts as recently answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]

        def connected(source: str, to: socket.socket) -> socket.socket:
            caller = socket.create_connection(to.getsockname(), source_address=(source, 0))
            stack.enter_context(caller)
            accepted = stack.enter_context(to.accept()[0])
            accepted.setblocking(False)
            return accepted

        late, of_another, of_our_own_call = (
            connected("127.0.0.2", listener),
            connected("127.0.0.3", listener),
            connected("127.0.0.2", other),
        )

        ended = [
            late_bodies.end_unanswered_connections({"127.0.0.2"}, port=port, seconds=60, overdue={}),
            late_bodies.end_unanswered_connections({"127.0.0.2"}, port=port, seconds=0, overdue={}),
        ]

        assert ended == [0, 1]
        assert late.recv(1) == b""
        for remaining in (of_another, of_our_own_call):
            with pytest.raises(BlockingIOError):
                remaining.recv(1)


def test_a_request_on_a_reused_connection_keeps_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of a proxy share one peer: where one body is late, others may carry a running request."""
    now, overdue = [1_000.0], {}
    monkeypatch.setattr(late_bodies.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(late_bodies, "_milliseconds_since_answer", lambda _connection: 61_000)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(socket.create_connection(listener.getsockname(), source_address=("127.0.0.2", 0)))
        stack.enter_context(listener.accept()[0])

        def check() -> int:
            return late_bodies.end_unanswered_connections(
                {"127.0.0.2"}, port=listener.getsockname()[1], seconds=60, overdue=overdue
            )

        first = check()
        now[0] += 4
        at_work = check()
        monkeypatch.setattr(late_bodies, "_milliseconds_since_answer", lambda _connection: 10)
        now[0] += 4
        answered, remembered = check(), dict(overdue)
        monkeypatch.setattr(late_bodies, "_milliseconds_since_answer", lambda _connection: 61_000)
        check()
        now[0] += 5

        assert (first, at_work, answered, remembered) == (0, 0, 0, {})
        assert check() == 1


def test_the_deadline_thread_survives_a_lack_of_file_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_path: str) -> list[str]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(late_bodies.os, "listdir", none_left)
    monkeypatch.setattr("config.serving.arrival_limits.BODY_TIMEOUT", -1)
    arrivals = Arrivals()

    with arrivals.arriving("a", peer="127.0.0.2") as arrival:
        late_bodies.end_late_bodies(arrivals, port=1, overdue={})

    assert arrival.is_late


def test_one_ipv6_network_counts_as_one_caller(
    gate: Callable[..., BodyBuffer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.serving.arrival_limits.MAX_BODIES_PER_ADDRESS", 1)
    one = gate(echo)
    with one.arrivals.arriving("2001:db8:1:2::/64"):
        answers = [post(one, b"{}", REMOTE_ADDR=address)[0] for address in ("2001:db8:1:2::7", "2001:db8:1:3::7")]

    assert answers == ["503", "200"]


@pytest.mark.parametrize("megabytes", [0, 1, 25])
def test_a_low_upload_limit_does_not_limit_webhooks(
    gate: Callable[..., BodyBuffer], settings: Any, megabytes: int
) -> None:
    settings.UPLOAD_LIMIT_MB = megabytes
    one = gate(echo)
    batch = b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    assert post(one, batch, PATH_INFO="/webhooks/wa/y/")[0] == "200"
    assert one.max_bytes >= MAX_BYTES_WITH_FILES + 1024 * 1024


def test_the_webhook_body_limit_is_lower_than_the_upload_limit(gate: Callable[..., BodyBuffer], settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    one, path = gate(echo), {"PATH_INFO": "/webhooks/x/y/"}

    assert [post(one, b"1" * size, **path)[0] for size in (10, 11)] == ["200", "413"]
    settings.BEHIND_PROXY = True
    assert post(one, b"1" * 11, **path, **CHUNKED)[0] == "413"
    assert post(one, b"1" * 11)[0] == "200"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/login/", {}, "413"),
        ("/", {}, "413"),
        ("/login/", {"HTTP_COOKIE": "sessionid=x"}, "200"),
        ("/api/v1/messages/", {"HTTP_AUTHORIZATION": "Token x"}, "200"),
        ("/uapi/chat/addMessage", {}, "200"),
        ("/webhooks/acebot/x/", {}, "200"),
    ],
)
def test_a_large_body_is_refused_before_login(
    gate: Callable[..., BodyBuffer], path: str, headers: dict[str, str], status: str
) -> None:
    assert post(gate(echo), b"x" * (MAX_ANONYMOUS_BYTES + 1), PATH_INFO=path, **headers)[0] == status
    assert post(gate(echo), b"x" * MAX_ANONYMOUS_BYTES, PATH_INFO=path, **headers)[0] == "200"


@pytest.mark.django_db
def test_a_flood_of_unknown_tokens_is_refused_without_a_query(
    client: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    phone, guard = ApiChannelFactory(), UnknownTokenGuard()
    own = phone.webhook_path
    monkeypatch.setattr("bridge.intake.webhooks.unknown_token_guard", guard)
    monkeypatch.setattr(module.time, "monotonic", lambda: 1_000.5)
    path = "/webhooks/sandbox/nobody/"

    assert not guard.is_refused(path)
    for _ in range(MAX_LOOKUPS_PER_SECOND + 1):
        assert client.post(path, b"{}", content_type="application/json").status_code == 404

    with django_assert_num_queries(0):
        assert guard.is_refused(path)
        assert guard.is_refused("/webhooks/sandbox/")
        assert not guard.is_refused(own)
        assert not guard.is_refused(own.rstrip("/"))
        assert not guard.is_refused("/health/live")


@pytest.mark.django_db
@pytest.mark.parametrize("make", [ApiChannelFactory, lambda: ChatChannelFactory(kind="usedesk")], ids=["api", "chat"])
def test_a_channel_created_during_a_flood_is_known_immediately(
    client: Any, monkeypatch: pytest.MonkeyPatch, make: Any, django_assert_num_queries: Any
) -> None:
    guard = UnknownTokenGuard()
    monkeypatch.setattr("bridge.intake.webhooks.unknown_token_guard", guard)
    monkeypatch.setattr(module.time, "monotonic", lambda: 1_000.5)
    for _ in range(MAX_LOOKUPS_PER_SECOND + 1):
        client.post("/webhooks/sandbox/nobody/", b"{}", content_type="application/json")

    channel = make()
    first = channel.webhook_path
    channel.issue_address()
    paths = [first, channel.webhook_path, channel.webhook_path.rstrip("/")]

    with django_assert_num_queries(0):
        assert [guard.is_refused(path) for path in paths] == [False] * 3
        assert guard.is_refused(first[:-3] + "xx/")


@pytest.mark.django_db
def test_an_address_stored_without_notification_is_known_a_second_later(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, guard = [1_000.5], UnknownTokenGuard()
    monkeypatch.setattr("bridge.intake.webhooks.unknown_token_guard", guard)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    path = "/webhooks/sandbox/nobody/"
    for _ in range(MAX_LOOKUPS_PER_SECOND + 1):
        client.post(path, b"{}", content_type="application/json")
    phone, token = ApiChannelFactory(), encryption.new_path_token()
    phone.addresses.update(token=encryption.encrypt(token), digest=encryption.fingerprint(token))
    assert guard.is_refused(phone.webhook_path)

    now[0] += 1.1

    assert not guard.is_refused(path)  # one request gets the full lookup
    for _ in range(MAX_LOOKUPS_PER_SECOND + 1):
        client.post(path, b"{}", content_type="application/json")
    assert guard.is_refused(path)
    assert not guard.is_refused(phone.webhook_path)
    assert guard.is_refused(phone.webhook_path.replace("sandbox", "acebot"))


@pytest.mark.django_db
def test_a_few_unknown_tokens_are_looked_up_one_by_one(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = UnknownTokenGuard()
    monkeypatch.setattr("bridge.intake.webhooks.unknown_token_guard", guard)
    for _ in range(MAX_LOOKUPS_PER_SECOND):
        client.post("/webhooks/sandbox/nobody/", b"{}", content_type="application/json")

    phone = ApiChannelFactory()

    assert not guard.is_refused(phone.webhook_path)
    assert client.post(phone.webhook_path, b"{}", content_type="application/json").status_code == 200


def test_a_refused_path_is_answered_without_reading_the_body(gate: Callable[..., BodyBuffer]) -> None:
    refusing = gate(lambda environ: HttpResponse(), is_refused=lambda path: path == "/webhooks/x/y/")

    assert post(refusing, object(), length=1_000, PATH_INFO="/webhooks/x/y/")[0] == "404"


def test_runserver_serves_static_files(gate: Callable[..., BodyBuffer]) -> None:
    """Django gives a file to the server's own wrapper, which is no response."""
    buffer = gate(lambda environ: HttpResponse("wrapped" if "wsgi.file_wrapper" in environ else "a response"))
    environ = {"PATH_INFO": "/static/okno.css", "REQUEST_METHOD": "GET", "wsgi.file_wrapper": FileWrapper}

    assert in_a_thread(lambda: b"".join(buffer(environ, lambda *_: None))) == b"a response"
