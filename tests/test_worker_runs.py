"""Runs of tasks that wait for wake-ups: they hear each commit, share the work, and end when they should."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.db import connection
from django.test import Client

from bridge import wakeups, worker_runs
from bridge.inbox import processing
from bridge.models import Delivery, Message
from bridge.outbox import dispatcher
from bridge.worker_runs import WorkerProcess, WorkerRun, begin_run
from tests.factories import ApiChannelFactory
from tests.processes import eventually
from tests.receiver import Receiver
from tests.scenarios.concurrency import run_together
from tests.scenarios.inbox import post, says
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to

pytestmark = pytest.mark.django_db(transaction=True)

PROCESS_INBOX = "bridge.tasks.process_inbox"


@contextmanager
def started_process() -> Iterator[WorkerProcess]:
    process = WorkerProcess()
    process.prepare(queues=("inbound",), places=2)
    assert process.shutdown_reader is not None
    try:
        yield process
    finally:
        process.close_writer()
        os.close(process.shutdown_reader)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    """A worker process with places enough for runs that wait."""
    with started_process() as process:
        monkeypatch.setattr(worker_runs, "worker_process", process)
        yield process


@pytest.fixture
def run(process: WorkerProcess, called: list[str]) -> Iterator[WorkerRun]:
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        yield run


def is_readable(run: WorkerRun) -> bool:
    return bool(select.select([run], [], [], 0)[0])


def seconds_of(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def publish_later(seconds: float = 0.1) -> None:
    threading.Timer(seconds, wakeups.notify_workers, [wakeups.INBOUND]).start()


def test_a_waiting_run_hears_a_wake_up_and_no_task_is_enqueued(run: WorkerRun, called: list[str]) -> None:
    run.clear()
    publish_later()

    assert seconds_of(lambda: run.wait(10)) < 2
    assert is_readable(run)
    run.clear()
    assert not is_readable(run)
    assert called == []


def test_a_wake_up_between_look_and_wait_is_not_lost(run: WorkerRun) -> None:
    run.clear()
    wakeups.notify_workers(wakeups.INBOUND)

    assert seconds_of(lambda: run.wait(10)) < 1


def test_many_wake_ups_are_cleared_at_once(run: WorkerRun, called: list[str]) -> None:
    for _number in range(500):
        wakeups.notify_workers(wakeups.INBOUND)
    run.clear()

    assert not is_readable(run)
    assert called == []


def test_without_a_wake_up_the_run_looks_again_after_a_while(run: WorkerRun) -> None:
    assert run.wait(0.05)


def test_after_its_time_a_run_ends_and_the_next_one_is_enqueued(process: WorkerProcess, called: list[str]) -> None:
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        run._until = time.monotonic()
        assert run.is_over() and not run.wait(10)

    assert called == [PROCESS_INBOX]


def test_the_end_of_a_run_is_not_heard_as_a_run_that_listens(process: WorkerProcess, called: list[str]) -> None:
    with begin_run(wakeups.INBOUND, "worker"):
        pass
    wakeups.notify_workers(wakeups.INBOUND)
    wakeups.notify_workers(wakeups.INBOUND)

    assert called == [PROCESS_INBOX] * 2  # the next run, and one for both wake-ups


def test_a_failed_run_leaves_the_next_one_to_beat(process: WorkerProcess, called: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), begin_run(wakeups.INBOUND, "worker"):
        raise ZeroDivisionError

    assert called == []
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None


def test_a_worker_has_one_run_of_a_kind_and_another_worker_its_own(process: WorkerProcess, called: list[str]) -> None:
    everyone_has_asked = threading.Barrier(3)

    def ask(worker: str) -> bool:
        with begin_run(wakeups.INBOUND, worker) as run:
            everyone_has_asked.wait(10)
            return run is not None

    found = run_together(*[lambda name=name: ask(name) for name in ("one", "one", "two")])

    assert sorted(found[:2]) == [False, True]
    assert found[2]


def can_begin_run(channel: str = wakeups.INBOUND) -> bool:
    """Return whether another process of the worker can begin a run."""

    def begin_run_elsewhere() -> bool:
        with begin_run(channel, "worker") as run:
            return run is not None

    return run_together(begin_run_elsewhere) == [True]


def test_a_run_that_cannot_begin_frees_its_lock(process: WorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("selectors.DefaultSelector", refuse)
        with pytest.raises(OSError, match="Too many"), begin_run(wakeups.INBOUND, "worker"):
            pass

    assert can_begin_run()


def test_a_restarted_worker_waits_for_no_lock_of_its_predecessor(
    run: WorkerRun, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predecessor's machine has crashed, and PostgreSQL still keeps its session."""
    assert not can_begin_run()
    monkeypatch.setattr(process, "start_id", "of the next start")

    assert can_begin_run()


def test_each_start_of_a_worker_has_its_own_identifier(process: WorkerProcess) -> None:
    with started_process() as other:
        assert process.start_id and process.start_id != other.start_id


@pytest.mark.parametrize(
    ("problems", "enqueued"),
    [
        ([redis.TimeoutError()], []),
        ([redis.ConnectionError()], [PROCESS_INBOX]),  # a kept connection that a restart of the broker has broken
        ([redis.ConnectionError(), redis.ConnectionError()], []),
    ],
)
def test_a_run_that_hands_over_is_not_held_up_by_a_hung_broker(
    run: WorkerRun,
    called: list[str],
    monkeypatch: pytest.MonkeyPatch,
    problems: list[Exception],
    enqueued: list[str],
) -> None:
    def ping() -> None:
        if problems:
            raise problems.pop()

    problems = list(problems)
    monkeypatch.setattr(wakeups.broker, "paused_until", 0.0)
    monkeypatch.setattr(wakeups.broker.client, "ping", ping)
    run.hand_over()

    assert run.is_over()
    assert called == enqueued


def test_a_run_that_waits_for_calls_lets_the_next_one_begin(run: WorkerRun, called: list[str]) -> None:
    assert not can_begin_run()
    run.hand_over()
    run.hand_over()

    assert called == [PROCESS_INBOX]
    assert run.is_over() and not run.wait(10)
    assert can_begin_run()


def test_one_run_at_a_time_is_followed_before_it_has_ended(run: WorkerRun, called: list[str]) -> None:
    def begin_next() -> bool:
        with begin_run(wakeups.INBOUND, "worker") as after:
            assert after is not None
            after.hand_over()
            return after.is_over()

    run.hand_over()

    assert run_together(begin_next) == [False]


def test_without_a_spare_place_a_run_is_followed_when_it_ends(process: WorkerProcess, called: list[str]) -> None:
    process.places = 1
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        run.hand_over()
        assert called == []

    assert called == [PROCESS_INBOX]


def test_a_shutdown_ends_the_wait_and_is_reported_once(run: WorkerRun, process: WorkerProcess) -> None:
    threading.Timer(0.1, process.close_writer).start()

    assert seconds_of(lambda: run.wait(10)) < 2
    assert run.is_over()
    assert not is_readable(run)  # otherwise the last calls would be awaited in a busy loop


def test_a_broken_subscription_is_made_again(run: WorkerRun) -> None:
    listeners = [client for client in wakeups.broker.client.client_list(_type="pubsub") if client["db"] == database()]
    for client in listeners:
        wakeups.broker.client.client_kill(client["addr"])
    assert listeners

    run.wait(10)
    run.clear()
    assert run._subscription.socket is None
    run._subscribe_at = 0
    assert run.wait(10)  # subscribed again: look for what was committed meanwhile
    publish_later()
    assert seconds_of(lambda: run.wait(10)) < 2
    assert is_readable(run)


def database() -> str:
    return str(wakeups.broker.client.connection_pool.connection_kwargs["db"])


def test_without_a_broker_a_run_looks_every_second(
    process: WorkerProcess, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_runs, "RESUBSCRIBE_SECONDS", 0.05)
    monkeypatch.setattr(wakeups.Subscription, "open", lambda _self: False)
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        run.clear()
        assert run.wait(10)
        assert not run.is_over()


def test_a_run_ends_when_postgresql_closes_its_connection(process: WorkerProcess, called: list[str]) -> None:
    def wait_and_lose() -> bool:
        with begin_run(wakeups.INBOUND, "worker") as run, connection.cursor() as cursor:
            assert run is not None
            cursor.execute("SELECT pg_backend_pid()")
            terminate(cursor.fetchone()[0])
            run.wait(0.2)
            return run.is_over()

    def terminate(pid: int) -> None:
        def kill() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        run_together(kill)

    assert run_together(wait_and_lose) == [True]
    assert called == [PROCESS_INBOX]
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None


def test_a_run_without_a_place_to_wait_ends_but_loses_no_wake_up(
    process: WorkerProcess, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process.places = 0  # too few
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        run.clear()
        wakeups.notify_workers(wakeups.INBOUND)
        assert run.wait(10)  # look again
        run.clear()
        assert seconds_of(lambda: run.wait(10)) < 1
        assert not run.wait(10)
        wakeups.notify_workers(wakeups.INBOUND)  # after the last look

    assert called == [PROCESS_INBOX]


def test_a_broker_that_refuses_subscriptions_causes_no_loop(
    process: WorkerProcess, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process.places = 0  # too few to wait
    monkeypatch.setattr(wakeups.Subscription, "open", lambda _self: False)
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert run is not None
        assert not run.wait(10)

    assert called == []


def test_a_refused_subscription_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker: Any = wakeups.broker.client
    broker.execute_command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "resetchannels", "+@all")
    try:
        options = broker.connection_pool.connection_kwargs
        monkeypatch.setitem(options, "username", "mute")
        monkeypatch.setitem(options, "password", "secret")
        assert not wakeups.Subscription([wakeups.INBOUND, wakeups.OUTBOUND]).open()
    finally:
        monkeypatch.undo()
        broker.execute_command("ACL", "DELUSER", "mute")

    assert [record.error for record in caplog.records if hasattr(record, "error")] == ["ConnectionError"]


ALL = ("inbound", "outbound", "events", "housekeeping")


@pytest.mark.parametrize(
    ("queues", "places", "spare"),
    [
        (("inbound",), 1, 0),
        (("inbound", "housekeeping"), 1, -1),
        (("outbound",), 2, 1),
        (("outbound", "events"), 2, 1),  # one run serves both
        (ALL, 2, -1),
        (ALL, 4, 1),
        ((), 0, -1),
    ],
)
def test_each_run_keeps_a_place_and_other_tasks_keep_one(queues: tuple[str, ...], places: int, spare: int) -> None:
    assert WorkerProcess(queues=frozenset(queues), places=places).count_spare_places() == spare


def test_the_inbox_processes_what_arrives_while_it_waits(
    process: WorkerProcess, called: list[str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = ApiChannelFactory()
    waits: list[float] = []
    wait = WorkerRun.wait

    def store_and_wait(run: WorkerRun, *arguments: Any) -> bool:
        if len(waits) == 3:
            run._until = 0
        else:
            post(client, phone, says("?", number=len(waits)))
        waits.append(seconds_of(lambda: wait(run, *arguments)))
        return not run.is_over()

    monkeypatch.setattr(WorkerRun, "wait", store_and_wait)
    with begin_run(wakeups.INBOUND, "worker") as run:
        assert processing.process_inbox(run) == 3

    assert Message.objects.count() == 3
    assert max(waits) < 1
    assert called == [PROCESS_INBOX]  # the next run


def test_slow_calls_do_not_delay_the_next_run(process: WorkerProcess, called: list[str], receiver: Receiver) -> None:
    process.queues = frozenset(("outbound", "events"))
    boris_answers(anna_writes(create_channel_to(receiver, "/hook")))
    found: list[bool] = []

    def end_of_time() -> None:
        found.append(can_begin_run(wakeups.EVENTS))
        called.clear()
        run._until = 0
        eventually(lambda: "bridge.tasks.send_due_deliveries" in called, seconds=10)
        found.append(can_begin_run(wakeups.EVENTS))

    receiver.answer("/hook", hold=end_of_time)
    with begin_run(wakeups.OUTBOUND, "worker") as run:
        assert run is not None
        assert dispatcher.send_due_deliveries(run=run) == 1

    assert found == [False, True]
    assert Delivery.objects.get().state == "delivered"
