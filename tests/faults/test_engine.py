"""E: the delivery engine: workers that wait for wake-ups, calls that run at once, and answers behind other traffic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from django.conf import settings

from config.celery import QUEUES
from config.devstack.supervisor import worker_command
from tests.faults.conftest import FULL, LEASE, SEED
from tests.faults.ledger import IN_FLIGHT, check
from tests.faults.provider import FakeProvider, call
from tests.faults.stack import Shop, Stack, eventually
from tests.faults.test_destinations import lags, p95

Size = Callable[..., int]
Say = Callable[[str], None]

SLOW_SECONDS = 2.0  # of a call, so that many run when their worker ends
AWAKE_SECONDS = 1.0  # from a client's message to the receiver, with a worker that waits for wake-ups


@pytest.fixture
def shop(stack: Stack) -> Shop:
    eventually(lambda: call(stack.port, "/uapi/channels", b"{}", patience=2).status == 200)
    return stack.shop()


# --- idle workers ----------------------------------------------------------------------------------------


def flush_broker(stack: Stack, _seconds: float) -> None:
    stack.valkey.flushall()


def refuse_broker(stack: Stack, seconds: float) -> None:
    stack.broker.refuse()
    time.sleep(seconds)
    stack.broker.open()


def hang_broker(stack: Stack, seconds: float) -> None:
    stack.broker.hang()
    time.sleep(seconds)
    stack.broker.open()


def kill_postgresql(stack: Stack, _seconds: float) -> None:
    killed = stack.servers.state("postgres")["pid"]
    os.kill(killed, signal.SIGQUIT)
    eventually(lambda: stack.servers.state("postgres").get("pid") not in (None, killed), seconds=60)
    eventually(lambda: call(stack.port, "/uapi/channels", b"{}", patience=5).status == 200, seconds=60)


@pytest.mark.fault(
    "E1", "broker flushed, gone, hung, PostgreSQL killed while workers wait: next message ≤ 15 s, soon ≤ 1 s again"
)
def test_workers_that_wait_survive_their_servers(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 71)
    lags(stack, provider, numbers=range(3))
    rounds, away, first, number = size(1, 5), size(1, 30), dict[str, float](), 100
    for _ in range(rounds):
        for fault in (flush_broker, refuse_broker, hang_broker, kill_postgresql):
            fault(stack, away)
            (seconds,) = lags(stack, provider, numbers=range(number, number + 1))
            first[fault.__name__] = max(first.get(fault.__name__, 0.0), seconds)
            number = wait_until_awake(stack, provider, number + 1, seconds=120)
    stack.quiesce(shop, seconds=LEASE + 60)

    ledger = check(stack, provider, kills=rounds)
    slowest = ", ".join(f"{name.replace('_', ' ')} {seconds:.1f} s" for name, seconds in first.items())
    measured(f"{rounds} × each, {away} s; first message after it: {slowest}; {ledger.words}")
    assert not ledger.complaints
    assert max(first.values()) <= 15


def wait_until_awake(stack: Stack, provider: FakeProvider, number: int, *, seconds: float) -> int:
    """Send messages until one arrives as fast as wake-ups make it. Return the next number."""
    until = time.monotonic() + seconds
    while lags(stack, provider, numbers=range(number, number + 1))[0] > AWAKE_SECONDS:
        assert time.monotonic() < until, "the workers do not wait for wake-ups again"
        number += 1
    return number + 1


# --- workers that end while calls run ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            signal.SIGTERM,
            marks=pytest.mark.fault("E2", "SIGTERM to the worker while calls run, ×10: 0 lost, 0 repeats"),
        ),
        pytest.param(
            signal.SIGKILL,
            marks=pytest.mark.fault("E3", "kill -9 of the worker while calls run, ×10: 0 lost, repeats ≤ 128 × kills"),
        ),
    ],
    ids=["SIGTERM", "SIGKILL"],
)
def test_a_worker_ends_while_its_calls_run(
    stack: Stack, shop: Shop, size: Size, measured: Say, number: signal.Signals
) -> None:
    rounds, count = size(1, 10), size(20, 300)
    provider = FakeProvider(stack, shop, seed=SEED + 72 + number)
    stack.receiver.behave(shop.path, delay=SLOW_SECONDS)
    for each in range(rounds):
        before, worker = len(stack.receiver.on(shop.path)), stack.pids()["worker"]
        posts = [provider.message(each * count + one, clients=100_000) for one in range(count)]
        provider.send(*posts)
        eventually(lambda before=before: len(stack.receiver.on(shop.path)) > before, seconds=30)
        assert stack.kill("worker", number)
        eventually(lambda worker=worker: stack.pids().get("worker") not in (None, worker), seconds=90)
    stack.receiver.behave(shop.path)
    drained = stack.quiesce(shop, seconds=LEASE * 2 + 120)

    is_killed = number == signal.SIGKILL
    ledger = check(stack, provider, kills=rounds * 128 // IN_FLIGHT if is_killed else 0)
    measured(f"{rounds} × {number.name} under {count} calls of 2 s; {ledger.words}; drained in {drained:.0f} s")
    assert not ledger.complaints


# --- several workers, several lanes -----------------------------------------------------------------------


@pytest.mark.fault("E4", "a second worker joins at 50/s: 10,000 messages to one destination, 0 repeats, order kept")
def test_two_workers_drain_one_destination(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    count, rate = size(60, 10_000), 50 if FULL else 20
    provider = FakeProvider(stack, shop, seed=SEED + 74)
    command = worker_command(queues=QUEUES, concurrency=4, name="second")
    before = count_consumers(stack)
    second = subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=settings.BASE_DIR,
        env=stack.environment | {"RELAY_ALLOWED_PRIVATE_CIDRS": "127.0.0.0/8"},  # as `manage.py up` sets it
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not FULL:  # few messages: they would not last until the second worker has started
            eventually(lambda: count_consumers(stack) > before, seconds=60)
        provider.drive(count=count, rate=rate, clients=40)
        eventually(lambda: count_consumers(stack) > before, seconds=10)
        stack.quiesce(shop, seconds=LEASE + 60)
    finally:
        second.terminate()
        second.wait(60)

    ledger = check(stack, provider)
    measured(f"{count} messages at {rate}/s; {ledger.words}")
    assert not ledger.complaints


def count_consumers(stack: Stack) -> int:
    """Return how many workers wait for tasks."""
    return sum(client["cmd"] == "brpop" for client in stack.valkey.client_list())


@pytest.mark.fault(
    "E5", "operators' answers behind 5,000 events to a destination that takes 2 s: p95 ≤ 1.2 × of the answers alone"
)
def test_answers_do_not_wait_behind_events(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    events, answers = size(200, 5_000), size(8, 100)
    busy = stack.shop()
    provider = FakeProvider(stack, shop, seed=SEED + 75)
    crowd = FakeProvider(stack, busy, seed=SEED + 175, senders=32)  # fewer would not send faster than the destination
    provider.send(*(provider.message(one, clients=20) for one in range(1, 20, 2)))
    stack.quiesce(shop, seconds=60)
    alone = p95(answer_lags(stack, provider, count=answers))
    stack.receiver.behave(busy.path, delay=2.0)  # with one second, the queue was empty before the last answer
    crowd.drive(count=events, rate=300 if FULL else 100, clients=500, reply_every=0)
    waiting = stack.unfinished(busy)
    behind = p95(answer_lags(stack, provider, count=answers))
    later = stack.unfinished(busy)
    stack.receiver.behave(busy.path)
    for each in (shop, busy):
        stack.quiesce(each, seconds=LEASE + 120)

    ledgers = [check(stack, each) for each in (provider, crowd)]
    measured(
        f"p95 of answers {alone * 1000:.0f} ms alone, {behind * 1000:.0f} ms behind {waiting} to {later} events;"
        f" {ledgers[0].words}; events: {ledgers[1].words}"
    )
    assert not [complaint for ledger in ledgers for complaint in ledger.complaints]
    assert (later if FULL else waiting) > 0
    assert behind <= (alone * 1.2 if FULL else max(alone * 3, 1.0))


def answer_lags(stack: Stack, provider: FakeProvider, *, count: int) -> list[float]:
    """Return the seconds from each operator's answer to its arrival at the receiver, sorted."""
    found, lines = [], sorted(provider.chats)
    for number in range(count):
        post, sent = provider.reply(lines[number % len(lines)]), time.time()
        provider.send(post)
        key = find_key(stack, provider.shop, post.headers[0][1])
        eventually(lambda key=key: key in stack.receiver.taken(provider.shop.path), seconds=30)
        found.append(stack.receiver.taken(provider.shop.path)[key].at - sent)
    return sorted(found)


def find_key(stack: Stack, shop: Shop, name: str) -> str:
    """Return the delivery key of a reply, whose text ends with its name."""
    query = "SELECT key FROM bridge_delivery WHERE api_channel_id = %s AND payload->>'text' LIKE %s"
    return str(stack.one(query, [shop.poster, f"% {name}"]))
