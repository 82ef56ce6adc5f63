"""Group commit: events of many callers share a transaction; a failure affects only its own caller."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection
from django.http import HttpResponse

from bridge.intake import group_commit
from bridge.models import WebhookEvent
from channels_setup.models import ApiChannel
from config.serving.body_buffer import BodyBuffer
from tests.factories import ApiChannelFactory

pytestmark = pytest.mark.django_db(transaction=True)


def event(api_channel_id: int, body: str) -> WebhookEvent:
    return WebhookEvent(api_channel_id=api_channel_id, endpoint="webhook", body=body.encode())


class Callers:
    """Concurrent callers: the first one's commit is held until ``let_go``; the others queue up behind it."""

    def __init__(self, committer: group_commit.GroupCommitter) -> None:
        self.committer = committer
        self.outcomes: dict[str, Exception | None] = {}
        self.threads: list[Thread] = []

    def call(self, row: WebhookEvent) -> None:
        def work() -> None:
            name = bytes(row.body).decode()
            try:
                self.committer.store(row)
                self.outcomes[name] = None
            except Exception as error:
                self.outcomes[name] = error
            finally:
                connection.close()

        is_first, behind = not self.threads, len(self.committer.waiting) + 1
        self.threads.append(Thread(target=work))
        self.threads[-1].start()
        while self.threads[-1].is_alive() and not self._is_in_line(behind, is_first=is_first):
            time.sleep(0.001)

    def _is_in_line(self, behind: int, *, is_first: bool) -> bool:
        """Return whether the call is queued; the first one is at its commit, which no other call can join."""
        if is_first:
            return self.committer.is_committing and not self.committer.waiting
        return len(self.committer.waiting) >= behind

    def all_answered(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def held_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, list[int]]]:
    """Yield an event that releases the first commit, and the list of row counts of each statement."""
    go, sizes = Event(), []
    insert: Callable[[list[WebhookEvent]], None] = group_commit._insert_events

    def slow(events: list[WebhookEvent]) -> None:
        sizes.append(len(events))
        if len(sizes) == 1:
            assert go.wait(20)
        insert(events)

    monkeypatch.setattr(group_commit, "_insert_events", slow)
    yield go, sizes
    go.set()


@pytest.fixture
def api_channel() -> ApiChannel:
    return ApiChannelFactory()


def bodies() -> set[str]:
    return {bytes(body).decode() for body in WebhookEvent.objects.values_list("body", flat=True)}


def test_callers_during_a_commit_share_the_next_one(api_channel: ApiChannel, held_commit: Any) -> None:
    go, sizes = held_commit
    callers = Callers(group_commit.GroupCommitter())
    for name in ("first", "a", "b", "c"):
        callers.call(event(api_channel.pk, name))

    go.set()
    callers.all_answered()

    assert sizes == [1, 3]
    assert callers.outcomes == dict.fromkeys(("first", "a", "b", "c"))
    assert bodies() == {"first", "a", "b", "c"}


@pytest.mark.parametrize("next_fails", [False, True])
def test_the_last_of_several_commits_notifies_the_workers(
    api_channel: ApiChannel, held_commit: Any, monkeypatch: pytest.MonkeyPatch, next_fails: bool
) -> None:
    (go, sizes), notified = held_commit, list[str]()
    insert = group_commit._insert_events

    def fail_second(events: list[WebhookEvent]) -> None:
        if next_fails and sizes:
            raise OperationalError("the server closed the connection")
        insert(events)

    monkeypatch.setattr(group_commit, "_insert_events", fail_second)
    monkeypatch.setattr(group_commit.wakeups, "notify_workers", notified.append)
    callers = Callers(group_commit.GroupCommitter())
    callers.committer.notify_at = time.monotonic() + 60
    for name in ("first", "a"):
        callers.call(event(api_channel.pk, name))

    go.set()
    callers.all_answered()

    assert callers.outcomes["first"] is None
    assert isinstance(callers.outcomes["a"], OperationalError) is next_fails
    assert notified == [group_commit.wakeups.INBOUND]


def test_the_workers_are_notified_during_consecutive_commits(
    api_channel: ApiChannel, held_commit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (go, _sizes), notified = held_commit, list[str]()
    monkeypatch.setattr(group_commit.wakeups, "notify_workers", notified.append)
    monkeypatch.setattr(group_commit, "NOTIFY_SECONDS", 0.0)
    callers = Callers(group_commit.GroupCommitter())
    for name in ("first", "a"):
        callers.call(event(api_channel.pk, name))

    go.set()
    callers.all_answered()

    assert notified == [group_commit.wakeups.INBOUND] * 2


class SlotRequests:
    """Requests of a web process with two slots, each of which stores one event."""

    def __init__(self, api_channel: ApiChannel) -> None:
        self.buffer = BodyBuffer(self.store, slots=2, is_refused=lambda _path: False)
        self.committer = group_commit.GroupCommitter(self.buffer.slots)
        self.api_channel_id = api_channel.pk
        self.pool = ThreadPoolExecutor(8)

    def store(self, environ: dict[str, Any], start_response: Any) -> HttpResponse:
        text, number = environ["PATH_INFO"].split(":")
        is_last = environ.get("is_last", True)
        try:
            self.committer.store(event(int(number) or self.api_channel_id, text), is_last_query=is_last)
            start_response("200 OK", [])
        except IntegrityError:
            start_response("503 Service Unavailable", [])
        return HttpResponse(text[:9] if is_last else str(WebhookEvent.objects.count()))

    def send(self, text: str, *, channel: int = 0, is_last: bool = True) -> Future[list[bytes]]:
        waiting, is_first = len(self.committer.waiting), not self.committer.is_committing
        environ = {"PATH_INFO": f"{text}:{channel}", "is_last": is_last}
        answer = self.pool.submit(self.buffer, environ, lambda *_: None)
        until = time.monotonic() + 20
        while time.monotonic() < until and not (
            self.committer.is_committing and not self.committer.waiting
            if is_first
            else len(self.committer.waiting) > waiting
        ):
            time.sleep(0.001)
        return answer

    def close(self) -> None:
        self.pool.shutdown()
        assert self.buffer.slots.free.qsize() == 2
        for _slot in range(2):
            self.buffer.slots.free.get().close()


@pytest.fixture
def requests(api_channel: ApiChannel) -> Iterator[SlotRequests]:
    requests = SlotRequests(api_channel)
    yield requests
    requests.close()


def test_waiting_requests_leave_their_slots_to_others(requests: SlotRequests, held_commit: Any) -> None:
    go, sizes = held_commit
    running = [requests.send(f"event {number}") for number in range(5)]

    go.set()

    assert [each.result(20) for each in running] == [[f"event {number}".encode()] for number in range(5)]
    assert sizes == [1, 4]
    assert bodies() == {f"event {number}" for number in range(5)}


def test_the_next_commit_waits_for_no_free_slot(requests: SlotRequests, held_commit: Any) -> None:
    go, sizes = held_commit
    running = [requests.send("first"), requests.send("second")]
    page, page_done = Event(), Event()

    def slow_page() -> None:
        requests.buffer.slots.take()
        page.set()
        assert page_done.wait(20)
        requests.buffer.slots.release()

    pages = [requests.pool.submit(slow_page) for _ in range(2)]  # the second gets the slot of the last commit
    assert page.wait(20)

    go.set()

    assert [each.result(20) for each in running] == [[b"first"], [b"second"]]
    page_done.set()
    assert [each.result(20) for each in pages] == [None, None] and sizes == [1, 1]


def test_large_bodies_keep_their_slots(requests: SlotRequests, held_commit: Any) -> None:
    go, _sizes = held_commit
    first = requests.send("first")
    large = requests.send("x" * (group_commit.MAX_BYTES_WITHOUT_SLOT + 1))

    assert requests.buffer.slots.free.qsize() == 0

    go.set()
    assert first.result(20) == [b"first"] and large.result(20) == [b"x" * 9]


def test_callers_have_a_slot_for_what_they_do_afterwards(requests: SlotRequests, held_commit: Any) -> None:
    go, sizes = held_commit
    running = [requests.send("first", is_last=False), requests.send("second", is_last=False)]
    running += [requests.send("bad", channel=999_999), requests.send("good", is_last=False)]

    go.set()

    counts = [int(each.result(20)[0]) for each in (running[0], running[1], running[3])]
    assert running[2].result(20) == [b"bad"]
    assert counts[0] in (1, 2, 3) and max(counts) == 3
    assert bodies() == {"first", "second", "good"} and sorted(sizes) == [1, 1, 1, 1, 3]


def test_one_bad_row_fails_alone(api_channel: ApiChannel, held_commit: Any) -> None:
    go, sizes = held_commit
    callers = Callers(group_commit.GroupCommitter())
    callers.call(event(api_channel.pk, "first"))
    callers.call(event(api_channel.pk, "good"))
    callers.call(event(api_channel.pk + 999, "of no channel"))
    callers.call(event(api_channel.pk, "good too"))

    go.set()
    callers.all_answered()

    assert {name for name, error in callers.outcomes.items() if error} == {"of no channel"}
    assert bodies() == {"first", "good", "good too"}
    assert sorted(sizes) == [1, 1, 1, 1, 3]


def test_a_database_outage_fails_each_caller_and_later_writes_work(
    api_channel: ApiChannel, held_commit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, _sizes = held_commit
    callers = Callers(group_commit.GroupCommitter())
    for name in ("first", "a", "b"):
        callers.call(event(api_channel.pk, name))
    with monkeypatch.context() as away:
        away.setattr(group_commit, "_execute_insert", partial(_fail_for_several, group_commit._execute_insert))

        go.set()
        callers.all_answered()

    assert {name: type(error) for name, error in callers.outcomes.items()} == {
        "first": type(None),
        "a": OperationalError,
        "b": OperationalError,
    }
    callers.committer.store(event(api_channel.pk, "later"))
    assert bodies() == {"first", "later"}


def _fail_for_several(insert: Callable[[list[list[Any]]], None], columns: list[list[Any]]) -> None:
    if len(columns[0]) > 1:
        raise OperationalError("server closed the connection unexpectedly")
    insert(columns)


def test_a_connection_that_broke_meanwhile_is_opened_again(api_channel: ApiChannel) -> None:
    committer = group_commit.GroupCommitter()
    problems: list[Exception] = []

    def store_twice() -> None:
        try:
            committer.store(event(api_channel.pk, "before"))
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (backend,) = cursor.fetchone()
            ended.append(backend)
            assert is_ended.wait(20)
            committer.store(event(api_channel.pk, "after"))
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    ended: list[int] = []
    is_ended = Event()
    thread = Thread(target=store_twice)
    thread.start()
    until = time.monotonic() + 20
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", ended)
    is_ended.set()
    thread.join(20)

    assert problems == [] and bodies() == {"before", "after"}


def test_many_concurrent_callers_are_all_stored(api_channel: ApiChannel) -> None:
    committer = group_commit.GroupCommitter()

    def call(number: int) -> None:
        for round_number in range(10):
            committer.store(event(api_channel.pk, f"{number}-{round_number}"))
        connection.close()

    threads = [Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(bodies()) == WebhookEvent.objects.count() == 80
    assert committer.waiting == [] and not committer.is_committing
