"""Group commit: events of many callers share a transaction; a failure affects only its own caller."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
from django.db import OperationalError, connection

from bridge.intake import group_commit
from bridge.models import WebhookEvent
from channels_setup.models import ApiChannel
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
