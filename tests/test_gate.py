"""The gate before Django: who waits for bytes takes no place, and nobody's webhook costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse

from bridge import strangers as module
from bridge.strangers import FEW, Strangers
from config.gate import IN_MEMORY, Gate
from tests.factories import ApiChannelFactory

PATIENCE = 20


@pytest.fixture
def gate() -> Iterator[Callable[..., Gate]]:
    made: list[Gate] = []

    def make(view: Callable[[Any], Any], *, places: int = 1, is_refused: Any = lambda path: False) -> Gate:
        def application(environ: dict[str, Any], start_response: Any) -> Any:
            response = view(environ)
            start_response(f"{response.status_code} ", list(response.items()))
            return response

        made.append(Gate(application, places=places, is_refused=is_refused))
        return made[-1]

    yield make
    for each in made:
        while not each.places.empty():
            each.places.get().close()


def in_a_thread(work: Callable[[], Any]) -> Any:
    """As the web server calls: the gate changes the thread's database connection."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(PATIENCE)


def post(gate: Gate, body: Any, *, length: int | None = None, **environ: str) -> tuple[str, bytes]:
    said: list[str] = []
    source = BytesIO(body) if isinstance(body, bytes) else body
    declared = len(body) if length is None else length
    environ = {"PATH_INFO": "/", "CONTENT_LENGTH": str(declared)} | environ

    def call() -> bytes:
        return b"".join(gate({**environ, "wsgi.input": source}, lambda status, headers: said.append(status)))

    answer = in_a_thread(call)
    return said[0][:3], answer


class Dripping:
    """A body whose end is let go by the test."""

    def __init__(self) -> None:
        self.asked, self.end = threading.Event(), threading.Event()
        self.parts = [b"{", b"}"]

    def read(self, _size: int) -> bytes:
        if len(self.parts) == 1:
            self.asked.set()
            assert self.end.wait(PATIENCE)
        return self.parts.pop(0) if self.parts else b""


def test_whoever_does_not_finish_his_request_holds_up_nobody(gate: Callable[..., Gate]) -> None:
    one_place = gate(lambda environ: HttpResponse(environ["wsgi.input"].read()), places=1)
    slow, answers = Dripping(), []
    waiting = threading.Thread(target=lambda: answers.append(post(one_place, slow, length=2)))
    waiting.start()
    assert slow.asked.wait(PATIENCE)

    quick = post(one_place, b"[]")
    slow.end.set()
    waiting.join(PATIENCE)

    assert quick == ("200", b"[]")
    assert answers == [("200", b"{}")]


@pytest.mark.django_db(transaction=True)
def test_a_place_takes_its_database_connection_from_thread_to_thread(gate: Callable[..., Gate]) -> None:
    def backend(_environ: Any) -> HttpResponse:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return HttpResponse(str(cursor.fetchone()[0]))

    one_place, answers = gate(backend), []
    threads = [threading.Thread(target=lambda: answers.append(post(one_place, b"{}"))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(answers) == 4
    assert len(set(answers)) == 1


def test_a_failing_view_gives_its_place_back(gate: Callable[..., Gate]) -> None:
    def fails(_environ: Any) -> HttpResponse:
        raise RuntimeError

    one_place = gate(fails)

    for _ in range(2):
        with pytest.raises(RuntimeError):
            post(one_place, b"")

    assert one_place.places.qsize() == 1


def test_who_reads_a_long_answer_slowly_takes_no_place(gate: Callable[..., Gate]) -> None:
    one_place = gate(lambda environ: StreamingHttpResponse(iter([b"a", b"b"])))

    answer = in_a_thread(lambda: one_place({"PATH_INFO": "/", "wsgi.input": BytesIO()}, lambda *_: None))
    first = next(answer)

    assert first == b"a"
    assert one_place.places.qsize() == 1
    assert post(one_place, b"") == ("200", b"ab")
    in_a_thread(answer.close)  # as the server does: let go here, it would ask for the connection of the tests before


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_is_handed_on_whole(gate: Callable[..., Gate], size: int, chunked: bool) -> None:
    echo, body = gate(lambda environ: HttpResponse(environ["wsgi.input"].read())), b"x" * size
    how = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""} if chunked else {}

    assert post(echo, body, **how) == ("200", body)


def test_a_body_that_is_larger_than_any_we_take_is_not_read_to_its_end(gate: Callable[..., Gate]) -> None:
    echo = gate(lambda environ: HttpResponse(environ["wsgi.input"].read()))
    echo.most_bytes = 100_000

    said = post(echo, b"", length=100_001)
    counted = post(echo, b"x" * 200_000, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")

    assert said[0] == counted[0] == "413"


@pytest.mark.django_db
def test_a_flood_of_strangers_is_refused_without_the_database(
    client: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    phone, seen = ApiChannelFactory(), Strangers()
    monkeypatch.setattr("bridge.webhooks.strangers", seen)
    monkeypatch.setattr(module.time, "monotonic", lambda: 1_000.5)
    path = "/webhooks/sandbox/nobody/"

    assert not seen.is_refused(path)
    for _ in range(FEW + 1):
        assert client.post(path, b"{}", content_type="application/json").status_code == 404

    with django_assert_num_queries(0):
        assert seen.is_refused(path)
        assert seen.is_refused("/webhooks/sandbox/")
        assert not seen.is_refused(phone.webhook_path)
        assert not seen.is_refused(phone.webhook_path.rstrip("/"))
        assert not seen.is_refused("/health/live")


@pytest.mark.django_db
def test_a_channel_that_is_made_in_a_flood_is_known_a_second_later(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, seen = [1_000.5], Strangers()
    monkeypatch.setattr("bridge.webhooks.strangers", seen)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    path = "/webhooks/sandbox/nobody/"
    for _ in range(FEW + 1):
        client.post(path, b"{}", content_type="application/json")
    phone = ApiChannelFactory()
    assert seen.is_refused(phone.webhook_path)

    now[0] += 1.1

    assert not seen.is_refused(path)  # one goes the whole way
    for _ in range(FEW + 1):
        client.post(path, b"{}", content_type="application/json")
    assert seen.is_refused(path)
    assert not seen.is_refused(phone.webhook_path)


@pytest.mark.django_db
def test_a_few_strangers_are_looked_up_one_by_one(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Strangers()
    monkeypatch.setattr("bridge.webhooks.strangers", seen)
    for _ in range(FEW):
        client.post("/webhooks/sandbox/nobody/", b"{}", content_type="application/json")

    phone = ApiChannelFactory()

    assert not seen.is_refused(phone.webhook_path)
    assert client.post(phone.webhook_path, b"{}", content_type="application/json").status_code == 200


def test_a_refused_path_waits_for_no_body(gate: Callable[..., Gate]) -> None:
    refusing = gate(lambda environ: HttpResponse(), is_refused=lambda path: path == "/webhooks/x/y/")

    assert post(refusing, object(), length=1_000, PATH_INFO="/webhooks/x/y/")[0] == "404"
