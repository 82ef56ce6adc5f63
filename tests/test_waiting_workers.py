"""A real worker whose runs wait for wake-ups: without tasks per message, through failures, and until it is stopped.

The worker reaches the broker through a gate. The tests share it, in file order: the last ones end it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from django.test import Client

from bridge import wakeups
from bridge.models import Heartbeat, Message, WebhookEvent
from channels_setup.advisory_locks import LockSpace
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory
from tests.faults.gate import TcpGate
from tests.faults.stack import children, through
from tests.processes import eventually
from tests.receiver import Receiver
from tests.scenarios.inbox import post, says
from tests.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

PROCESS_INBOX = "bridge.tasks.process_inbox"
SECONDS = 3.0  # a wake-up that was lost is made up for in two


@pytest.fixture(scope="module")
def gate() -> Iterator[TcpGate]:
    gate = TcpGate(int(settings.REDIS_URL.rpartition("/")[0].rpartition(":")[2]))
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def waiting_worker(django_db_setup: None, gate: TcpGate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    worker = Worker(log=log, concurrency=4, broker_url=through(settings.REDIS_URL, gate.port))
    yield worker
    worker.stop()


@pytest.fixture
def worker_with_run(waiting_worker: Worker, transactional_db: None) -> Worker:
    """The worker, with a run of the inbox and one of the deliveries that wait."""
    waiting_worker.start()
    start_runs(2)
    eventually(is_heard)
    return waiting_worker


def start_runs(count: int) -> None:
    """Start the runs of one worker or more, as beat does."""

    def have_begun() -> bool:
        if count_runs() < count:
            current_app.send_task(PROCESS_INBOX, queue="inbound")
            current_app.send_task("bridge.tasks.send_due_events", queue="events")
            return False
        return True

    eventually(have_begun)


@pytest.fixture
def phone(worker_with_run: Worker) -> ApiChannel:
    return ApiChannelFactory()


def count_runs() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [int(LockSpace.WORKER_RUNS)],
        )
        return int(cursor.fetchone()[0])


def is_heard() -> bool:
    """Return whether runs listen to all channels."""
    topics = [wakeups._get_topic(channel) for channel in wakeups.HEARD]
    return all(number for _topic, number in wakeups.broker.client.pubsub_numsub(*topics))


def renew_runs() -> None:
    """End the runs by closing their database sessions, and start new ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s",
            [int(LockSpace.WORKER_RUNS)],
        )
    start_runs(2)
    broker: Any = wakeups.broker.client
    # The former runs have ended, and the tasks that they enqueued have found the new ones.
    eventually(lambda: broker.hlen("unacked") == 2 and not broker.exists(*wakeups.QUEUES.values()))
    eventually(is_heard)


def seconds_until_processed(client: Client, phone: ApiChannel, *, number: int = 0) -> float:
    started = time.monotonic()
    post(client, phone, says("?", number=number))
    eventually(lambda: Message.objects.filter(external_id=f"anna-{number}").exists(), seconds=30)
    return time.monotonic() - started


def test_a_message_on_an_idle_system_starts_no_task(
    client: Client, worker_with_run: Worker, phone: ApiChannel, receiver: Receiver
) -> None:
    ApiChannelFactory(
        kind="acebot", redirect_url=receiver.url("/hook"), secret=True, watched=phone.default_chat_channel
    )
    renew_runs()
    with worker_with_run.broker.monitor() as monitor:
        assert seconds_until_processed(client, phone) < SECONDS
        receiver.wait_for(1)
        wakeups.broker.client.echo("end of the test")
        commands = list(iter(lambda: read_command(monitor), "ECHO end of the test"))

    assert any(command.startswith("PUBLISH") for command in commands)
    assert [command for command in commands if command.startswith("LPUSH")] == []


def read_command(monitor: Any) -> str:
    """Return the next command to the worker's database of the broker."""
    database = wakeups.broker.client.connection_pool.connection_kwargs["db"]
    while (seen := monitor.next_command())["db"] != database:
        pass
    return str(seen["command"])


def test_a_burst_of_commits_starts_no_task(client: Client, phone: ApiChannel, called: list[str]) -> None:
    for number in range(100):
        post(client, phone, says("?", number=number))
        for _other in range(4):
            wakeups.notify_workers(wakeups.INBOUND)
    eventually(lambda: not WebhookEvent.objects.filter(state="new").exists())

    assert Message.objects.count() == 100
    assert called == []


def test_tasks_of_beat_take_no_further_places(worker_with_run: Worker) -> None:
    for _tick in range(40):
        for task, queue in (
            ("process_inbox", "inbound"),
            ("send_due_deliveries", "outbound"),
            ("send_due_events", "events"),
        ):
            current_app.send_task(f"bridge.tasks.{task}", queue=queue)
    current_app.send_task("bridge.tasks.record_heartbeat", queue="housekeeping")

    eventually(lambda: Heartbeat.objects.filter(name="beat").exists(), seconds=10)
    eventually(lambda: not worker_with_run.broker.exists("inbound", "outbound", "events"), seconds=10)
    assert count_runs() == 2


def test_a_flushed_broker_delays_nothing(client: Client, phone: ApiChannel, called: list[str]) -> None:
    wakeups.broker.client.flushdb()

    assert seconds_until_processed(client, phone) < SECONDS
    assert called == []


def test_while_the_broker_hangs_the_run_looks_by_itself(client: Client, phone: ApiChannel, gate: TcpGate) -> None:
    gate.hang()
    try:
        assert seconds_until_processed(client, phone) < SECONDS
    finally:
        gate.open()


def test_a_run_survives_a_broker_that_goes_and_comes_back(client: Client, phone: ApiChannel, gate: TcpGate) -> None:
    renew_runs()
    gate.refuse()
    try:
        eventually(lambda: not is_heard(), seconds=10)
        assert seconds_until_processed(client, phone) < SECONDS
    finally:
        gate.open()
    assert seconds_until_processed(client, phone, number=1) < SECONDS
    eventually(is_heard, seconds=30)


@pytest.mark.exhaustive
def test_two_workers_share_the_channels(
    client: Client, worker_with_run: Worker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = Worker(log=tmp_path_factory.mktemp("second") / "worker.log", concurrency=4, name="second")
    second.launch()
    try:
        start_runs(4)
        phones = [ApiChannelFactory() for _number in range(4)]
        for number in range(20):
            for phone in phones:
                post(client, phone, says("?", number=number))
        eventually(lambda: not WebhookEvent.objects.filter(state="new").exists())

        for phone in phones:
            sent = Message.objects.filter(api_channel=phone).order_by("pk").values_list("external_id", flat=True)
            assert list(sent) == [f"anna-{number}" for number in range(20)]
    finally:
        second.stop()


def test_a_worker_that_is_asked_to_end_does_not_wait_for_its_runs(worker_with_run: Worker) -> None:
    process: Any = worker_with_run.process
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(30)

    assert time.monotonic() - started < SECONDS
    assert count_runs() == 0


def test_the_children_of_a_killed_worker_end(worker_with_run: Worker) -> None:
    process: Any = worker_with_run.process
    pids = children(process.pid)
    process.kill()
    process.wait(30)

    eventually(lambda: not any(is_running(pid) for pid in pids), seconds=10)
    eventually(lambda: count_runs() == 0, seconds=10)
    assert pids


def is_running(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
