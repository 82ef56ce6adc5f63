"""A: killed processes and unreachable servers. The ledger is checked after each test."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg2
import pytest
from django.conf import settings

from config.devstack.supervisor import beat_command
from tests.faults import failpoints
from tests.faults.conftest import FULL, LEASE, SCALE, SEED
from tests.faults.ledger import check
from tests.faults.provider import PATIENCE, FakeProvider, call
from tests.faults.stack import Shop, Stack, eventually

Size = Callable[..., int]
Say = Callable[[str], None]


@pytest.fixture
def shop(stack: Stack) -> Shop:
    eventually(lambda: call(stack.port, "/uapi/channels", b"{}", patience=2).status == 200)
    time.sleep(0.5)  # the log entries of the previous test are written
    return stack.shop()


def killing(stack: Stack, seed: int, *, every: float, times: int) -> threading.Thread:
    """Kill random processes (a parent or a child) a number of times, in a thread."""
    chance = random.Random(seed)

    def work() -> None:
        done = 0
        while done < times:
            time.sleep(every)
            kind = chance.choice(["web", "web child", "worker", "worker child", "beat"])
            names = sorted(name for name in stack.pids() if name == kind or name.startswith(f"{kind} "))
            if names and stack.kill(name := chance.choice(names)):
                done += 1
                print(f"killed {name}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.fault(
    "A1", "10,000 messages at 50/s, a kill -9 every 3 s (≥ 60): 0 lost, repeats ≤ kills × in flight, drained ≤ 120 s"
)
def test_nothing_is_lost_in_a_storm_of_kills(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED)
    count, kills = size(30, 10_000), size(3, 66)
    driving = threading.Thread(
        target=provider.drive, kwargs={"count": count, "rate": 50 if FULL else 10, "patience": 300}
    )
    driving.start()
    killing(stack, SEED, every=3.0 if FULL else 1.0, times=kills).join()
    last = time.monotonic()
    driving.join()
    stack.quiesce(shop, seconds=LEASE * 2 + 120)
    drained = time.monotonic() - last

    ledger = check(stack, provider, kills=kills)
    measured(f"{kills} kills; {ledger.words}; drained in {drained:.0f} s")
    assert not ledger.complaints
    assert drained <= 120


@pytest.mark.fault("A2", "kill -9 between commit and wake-up: 100/100 delivered by the periodic check in ≤ 15 s")
def test_a_lost_wake_up_is_recovered_by_the_periodic_check(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 2)
    killed, lost = size(1, 10), size(2, 90)
    waits = []
    for number in range(killed + lost):
        point = "die_before_wakeup" if number < killed else "wakeup_lost"
        eventually(lambda: call(stack.port, "/uapi/channels", b"{}", patience=2).status == 200, seconds=30)
        stack.arm(point, 1)
        post = provider.message(number, clients=1_000)
        sent = time.time()
        provider.once(post)  # and not again: only the sweep can help
        assert stack.receiver.wait(shop.path, number + 1, seconds=20), f"not swept up after a {point}"
        waits.append(max(got.at for got in stack.receiver.on(shop.path)) - sent)
        for token in failpoints.folder(stack.folder).glob(f"{point}.*"):
            token.unlink(missing_ok=True)

    stack.quiesce(shop, seconds=30)
    measured(f"{len(waits)} delivered ({killed} by kill -9, {lost} by a lost wake-up), slowest {max(waits):.1f} s")
    assert max(waits) <= 15


@pytest.mark.fault(
    "A3", "kill -9 after HTTP 200, before the status is written, ×100: exactly 100 repeats under the same key"
)
def test_a_death_after_the_answer_makes_one_repeat_under_its_key(
    stack: Stack, shop: Shop, size: Size, measured: Say
) -> None:
    count = size(3, 100)
    provider = die_at(stack, shop, "after_200", count=count, seed=SEED + 3)
    stack.quiesce(shop, seconds=LEASE * 2 + 60)

    ledger = check(stack, provider, kills=count)
    measured(f"{count} deaths; {ledger.words}")
    assert not ledger.complaints
    assert ledger.repeats == count


@pytest.mark.fault("A4", "kill -9 after the claim, before HTTP, ×100: claimed again ≤ lease + 10 s, 0 lost, 0 repeats")
def test_a_death_after_the_claim_is_claimed_again(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    count = size(3, 100)
    provider = die_at(stack, shop, "after_claim", count=count, seed=SEED + 4)
    waits = []
    assert stack.receiver.wait(shop.path, count, seconds=LEASE + 40)
    stack.quiesce(shop, seconds=LEASE + 40)
    created = dict(
        stack.rows(
            "SELECT key, extract(epoch FROM created_at) FROM bridge_delivery WHERE api_channel_id = %s", [shop.poster]
        )
    )
    for key, got in stack.receiver.taken(shop.path).items():
        waits.append(got.at - float(created[key]))

    ledger = check(stack, provider, kills=count)
    measured(f"{count} deaths; {ledger.words}; slowest {max(waits):.1f} s, lease {LEASE} s")
    assert not ledger.complaints
    assert ledger.repeats == 0
    assert max(waits) <= LEASE + 10


def die_at(stack: Stack, shop: Shop, point: str, *, count: int, seed: int) -> FakeProvider:
    """One message after another, each of a client of its own, each killing the process that handles it.

    Ten at a time: one that is tried again may not be under way in a process that the next one kills.
    """
    provider = FakeProvider(stack, shop, seed=seed)
    for number in range(count):
        if number and number % 10 == 0:
            stack.quiesce(shop, seconds=LEASE * 2 + 60)
        stack.arm(point, 1)
        provider.send(provider.message(number, clients=10_000))
        eventually(lambda: not stack.armed(point), seconds=60)
    return provider


@pytest.mark.fault("A5", "a message that kills its worker every time is given up after its attempts; others unaffected")
def test_a_message_that_kills_its_worker_is_given_up(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 5)
    provider.send(provider.message(1, clients=100, text="Здравствуйте"))
    eventually(lambda: len(stack.receiver.taken(shop.path)) == 1, seconds=30)
    stack.receiver.behave(shop.path, delay=0.2)  # so that others are under way when it kills
    provider.send(provider.reply("1", text=failpoints.POISON))
    poisoned = "api_channel_id = %s AND payload::text LIKE %s"
    values = [shop.poster, f"%{failpoints.POISON}%"]
    provider.drive(count=size(10, 100), rate=10, clients=1_000, reply_every=0)
    died = "SELECT attempts FROM bridge_delivery WHERE " + poisoned
    eventually(lambda: stack.one(died, values) >= 3, seconds=LEASE * 4 + 30)
    by_hand = not FULL or SCALE < 1
    if by_hand:  # most of its other tries are taken as made
        stack.rows(f"UPDATE bridge_delivery SET attempts = 9 WHERE {poisoned}", values)

    state = eventually(
        lambda: (
            (row := stack.rows(f"SELECT state, attempts FROM bridge_delivery WHERE {poisoned}", values)[0])[0] == "dead"
            and row
        ),
        seconds=LEASE * 12 + 60,
    )
    stack.quiesce(shop, seconds=LEASE + 60)
    others = stack.one(
        "SELECT count(*) FROM bridge_delivery WHERE api_channel_id = %s AND state <> 'delivered'", [shop.poster]
    )
    notices = stack.one(
        "SELECT count(*) FROM bridge_message WHERE api_channel_id = %s AND direction = 'notice'", [shop.poster]
    )
    made = " (six of them set by hand)" if by_hand else ""
    measured(f"dead after {state[1]} tries{made}, {others - 1} others undelivered, {notices} notice to the operator")
    assert others == 1
    assert notices == 1


@pytest.mark.fault("A6", "FLUSHALL in the middle: 0 lost, drained ≤ 60 s after")
def test_flushing_the_broker_loses_nothing(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    count, rate = size(40, 10_000), 50 if FULL else 100
    provider = FakeProvider(stack, shop, seed=SEED + 6)
    timer = threading.Timer(count / rate / 2, stack.valkey.flushall)
    timer.start()

    provider.drive(count=count, rate=rate)
    timer.join()
    drained = stack.quiesce(shop, seconds=90)

    ledger = check(stack, provider)
    measured(f"{ledger.words}; drained in {drained:.0f} s")
    assert not ledger.complaints
    assert drained <= 60


@pytest.mark.fault(
    "A7", "broker gone 10 min: ≥ 99.9 % 2xx, p99 ≤ 1 s, all delivered ≤ 60 s after its return, nobody restarts"
)
def test_a_broker_that_is_gone_is_not_noticed_outside(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    away = size(4, 600)
    provider = FakeProvider(stack, shop, seed=SEED + 7)
    worker = stack.pids()["worker"]
    stack.broker.refuse()
    provider.drive(count=away * 10, rate=10)
    stack.broker.open()
    drained = stack.quiesce(shop, seconds=120)

    ledger = check(stack, provider)
    p99 = provider.percentile(0.99)
    measured(
        f"{away} s: {provider.share_accepted:.2%} 2xx, p99 {p99:.2f} s; {ledger.words}; drained in {drained:.0f} s"
    )
    assert not ledger.complaints
    assert provider.share_accepted >= 0.999
    assert p99 <= (1 if FULL else 3)
    assert drained <= 60
    assert stack.pids()["worker"] == worker


@pytest.mark.fault("A8", "CLIENT PAUSE 120000 WRITE: web p99 ≤ 3 s, all delivered after")
def test_a_broker_that_does_not_answer_is_not_waited_for(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    away = size(3, 120)
    provider = FakeProvider(stack, shop, seed=SEED + 8)
    stack.valkey.execute_command("CLIENT", "PAUSE", away * 1_000, "WRITE")
    provider.drive(count=away * 10, rate=10)
    drained = stack.quiesce(shop, seconds=120)

    ledger = check(stack, provider)
    p99 = provider.percentile(0.99)
    measured(
        f"{away} s: {provider.share_accepted:.2%} 2xx, p99 {p99:.2f} s; {ledger.words}; drained in {drained:.0f} s"
    )
    assert not ledger.complaints
    assert provider.share_accepted >= 0.999
    assert p99 <= (3 if FULL else 6)
    assert drained <= 60


@pytest.mark.fault("A9", "broker full (noeviction): webhooks 2xx, /health/ready red ≤ 60 s, recovery with no loss")
def test_a_full_broker_is_seen_and_costs_nothing(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 9)
    used = stack.valkey.info("memory")["used_memory"]
    stack.valkey.config_set("maxmemory", used - 100_000)
    try:
        red = ready(stack, wanted=503, seconds=60)
        provider.drive(count=size(20, 200), rate=20)
    finally:
        stack.valkey.config_set("maxmemory", 0)
    drained = stack.quiesce(shop, seconds=60)

    ledger = check(stack, provider)
    measured(f"red after {red:.0f} s; {provider.share_accepted:.2%} 2xx; {ledger.words}; drained in {drained:.0f} s")
    assert not ledger.complaints
    assert provider.share_accepted == 1


def ready(stack: Stack, *, wanted: int, seconds: float) -> float:
    """Return the seconds until /health/ready has the status."""
    import urllib.error
    import urllib.request

    started = time.monotonic()

    def status() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{stack.port}/health/ready", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    eventually(lambda: status() == wanted, seconds=seconds)
    return time.monotonic() - started


@pytest.mark.fault(
    "A10", "PostgreSQL killed (immediate) ×5: never a false 2xx, 503 and not 500, the web answers ≤ 10 s after"
)
def test_a_killed_postgresql_costs_no_message(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    times = size(1, 5, fixed=True)
    provider = FakeProvider(stack, shop, seed=SEED + 10)
    driving = threading.Thread(target=provider.drive, kwargs={"count": times * (60 if FULL else 40), "rate": 10})
    driving.start()
    back = []
    for _ in range(times):
        time.sleep(4 if FULL else 1)
        os.kill(stack.servers.state("postgres")["pid"], signal.SIGQUIT)
        eventually(lambda: not stack.servers.state("postgres").get("pid"), seconds=20)
        eventually(lambda: stack.servers.state("postgres").get("pid"), seconds=60)
        up = time.monotonic()
        answers(stack, shop)
        back.append(time.monotonic() - up)
    driving.join()
    drained = stack.quiesce(shop, seconds=LEASE + 60)

    ledger = check(stack, provider, kills=times)
    codes = {code: count for code, count in sorted(provider.statuses.items()) if code != 200}
    measured(
        f"{ledger.words}; answers besides 200: {codes}; web back {max(back):.1f} s after; drained in {drained:.0f} s"
    )
    assert not ledger.complaints
    assert set(codes) <= {503, 0}
    assert max(back) <= 10


def answers(stack: Stack, shop: Shop) -> None:
    eventually(lambda: call(stack.port, shop.phone_path, b'{"type": "clock"}', patience=5).status == 200, seconds=60)


@pytest.mark.fault("A11", "PostgreSQL gone 5 min: every webhook 503 in ≤ 3 s, the provider sends again, 0 lost")
def test_without_postgresql_every_webhook_is_asked_to_come_again(
    stack: Stack, shop: Shop, size: Size, measured: Say
) -> None:
    away = size(3, 300)
    provider = FakeProvider(stack, shop, seed=SEED + 11)
    stack.database.refuse()
    timer = threading.Timer(away, stack.database.open)
    timer.start()
    provider.drive(count=away * 5, rate=5)
    timer.join()
    drained = stack.quiesce(shop, seconds=LEASE + 60)

    ledger = check(stack, provider, kills=1)
    codes, slowest = dict(sorted(provider.statuses.items())), max(provider.seconds)
    measured(f"{away} s: answers {codes}, slowest {slowest:.1f} s; {ledger.words}; drained in {drained:.0f} s")
    assert not ledger.complaints
    assert set(codes) <= {200, 503}
    assert codes.get(503, 0) > 0
    assert slowest <= (3 if FULL else 6)


@pytest.mark.fault("A12", "PostgreSQL's connections exhausted: 503 and not 500, recovers alone")
def test_when_no_connection_is_to_be_had_the_answer_is_503(stack: Stack, shop: Shop, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 12)
    hoard: list[psycopg2.extensions.connection] = []
    stack.database.refuse()  # the portal releases its connections
    with suppress(psycopg2.OperationalError):
        while len(hoard) < 400:
            hoard.append(psycopg2.connect(stack.servers.urls["DATABASE_URL"], connect_timeout=5))
    stack.database.open()
    driving = threading.Thread(target=provider.drive, kwargs={"count": 20, "rate": 20})
    driving.start()
    time.sleep(2)
    for each in hoard:
        each.close()
    driving.join()
    stack.quiesce(shop, seconds=LEASE + 60)

    ledger = check(stack, provider, kills=1)
    measured(f"{len(hoard)} taken; answers {dict(sorted(provider.statuses.items()))}; {ledger.words}")
    assert not ledger.complaints
    assert set(provider.statuses) <= {200, 503}
    assert provider.statuses[503]


@pytest.mark.fault("A13", "disk full for files: text still flows, the file's message is tried again, 0 lost")
def test_where_files_cannot_be_stored_text_still_flows(stack: Stack, shop: Shop, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 13)
    media, aside = stack.folder / "media", stack.folder / "media-aside"
    media.rename(aside)
    media.touch()  # as a full disk: every write below it fails with an OSError
    try:
        provider.send(provider.message(1, clients=10))
        with_file = multipart(shop, name=f"{SEED}-file")
        refused = call(stack.port, "/uapi/chat/addMessage", *with_file)
    finally:
        media.unlink()
        aside.rename(media)
    taken = call(stack.port, "/uapi/chat/addMessage", *with_file)
    stack.quiesce(shop, seconds=30)

    files = stack.one(
        "SELECT count(*) FROM bridge_attachment a JOIN bridge_message m ON m.id = a.message_id"
        " WHERE m.api_channel_id = %s",
        [shop.poster],
    )
    measured(f"text {dict(provider.statuses)}, a file {refused.status} and later {taken.status}, {files} stored")
    assert refused.status == 503
    assert taken.status == 200
    assert files == 1


def multipart(shop: Shop, *, name: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    fields = {"api_token": shop.secret, "channel_id": str(shop.chat_channel), "message[text]": "Снимок"}
    fields |= {"message[id]": name, "message[from][client_id]": "anna"}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n' for key, text in fields.items()]
    parts.append(
        '--x\r\nContent-Disposition: form-data; name="files[]"; filename="a.png"\r\n'
        "Content-Type: image/png\r\n\r\nPNG\r\n--x--\r\n"
    )
    return "".join(parts).encode(), (("Content-Type", "multipart/form-data; boundary=x"),)


@pytest.mark.fault("A14", "SIGTERM rolling restart of all at 50/s: 0 failed webhooks, 0 repeats")
def test_everything_may_be_restarted_at_any_time(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    provider = FakeProvider(stack, shop, seed=SEED + 14)
    provider.patience = PATIENCE if FULL else 60  # the web starts slowly on a busy machine
    times, rate = size(1, 5), 50 if FULL else 10
    lasting = times * 8 + (40 if FULL else 2)
    driving = threading.Thread(target=provider.drive, kwargs={"count": lasting * rate, "rate": rate})
    driving.start()
    for _ in range(times):
        for name in ("worker", "beat", "web"):
            time.sleep(1)
            stack.kill(name, signal.SIGTERM)
        eventually(lambda: call(stack.port, "/health/live", b"", patience=5).status, seconds=60)
    if FULL:
        time.sleep(3)
        eventually(lambda: "web" in stack.pids(), seconds=60)
        os.kill(stack.pids()["web"], signal.SIGHUP)  # its processes are replaced one after the other
    driving.join()
    drained = stack.quiesce(shop, seconds=LEASE + 60)

    ledger = check(stack, provider)
    measured(
        f"{times} restarts of worker, beat and web each{', 1 of the web by SIGHUP' if FULL else ''}:"
        f" {provider.share_accepted:.2%} 2xx {dict(provider.statuses)}, {provider.cut_off} cut off, longest answer"
        f" {max(provider.seconds):.1f} s"
        f" (callers wait while the web starts); {ledger.words}; drained in {drained:.0f} s"
    )
    assert not ledger.complaints
    assert provider.cut_off == 0
    assert provider.share_accepted == 1


@pytest.mark.fault("A15", "worker and broker split 30 s ×20: never hung, heartbeat gap ≤ 45 s after each")
def test_a_split_from_the_broker_leaves_no_deaf_worker(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    splits, seconds = size(2, 20), size(1, 30)
    provider = FakeProvider(stack, shop, seed=SEED + 15)
    gaps = []
    for number in range(splits):
        stack.broker.hang() if number % 2 == 0 else stack.broker.refuse()
        provider.send(*(provider.message(number * 10 + each, clients=7) for each in range(5)))
        time.sleep(seconds)
        stack.broker.open()
        opened = time.monotonic()
        since = stack.one("SELECT clock_timestamp()")
        eventually(lambda since=since: stack.one("SELECT min(at) FROM bridge_heartbeat") > since, seconds=90)
        gaps.append(time.monotonic() - opened)
    stack.quiesce(shop, seconds=90)

    ledger = check(stack, provider)
    measured(f"{splits} × {seconds} s; all parts heard {max(gaps):.0f} s after at the latest; {ledger.words}")
    assert not ledger.complaints
    assert max(gaps) <= 45


@pytest.mark.fault(
    "B29", "two beats 10 min: effects once; one stopped: ready red ≤ 3 min, all due windows closed ≤ 30 s later"
)
def test_two_beats_do_nothing_twice_and_a_silent_one_is_seen(
    stack: Stack, shop: Shop, size: Size, measured: Say
) -> None:
    count, lasting = size(20, 200), size(4, 600)
    provider = FakeProvider(stack, shop, seed=SEED + 29)
    provider.send(*(provider.message(number * 2, clients=100_000) for number in range(count)))
    stack.quiesce(shop, seconds=120)
    mine = "conversation_id IN (SELECT id FROM bridge_conversation WHERE chat_channel_id = %s)"
    second = subprocess.Popen(
        [sys.executable, *beat_command()[1:]],
        cwd=settings.BASE_DIR,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        stack.rows(
            "UPDATE bridge_servicewindow SET expires_at = now() + random() * %s * interval '1 second',"
            f" opened_at = now() - interval '24 hours' WHERE {mine}",
            [lasting, shop.chat_channel],
        )
        time.sleep(lasting)
        still_open = f"SELECT count(*) FROM bridge_servicewindow WHERE state = 'open' AND {mine}"
        eventually(lambda: stack.one(still_open, [shop.chat_channel]) == 0, seconds=60)
    finally:
        second.terminate()
        second.wait(20)
    closed_count = stack.one(f"SELECT count(*) FROM bridge_servicewindow WHERE {mine}", [shop.chat_channel])
    repeats = len(stack.receiver.on(shop.path)) - len(stack.receiver.taken(shop.path))

    beat = stack.pids()["beat"]
    os.kill(beat, signal.SIGSTOP)
    try:
        red = (
            ready(stack, wanted=503, seconds=180) if FULL else 0.0
        )  # half a minute; tests/test_health_endpoints.py has it
        stack.rows(
            "UPDATE bridge_servicewindow SET state = 'open', expires_at = now() + interval '1 second',"
            f" opened_at = now() - interval '24 hours' WHERE {mine}",
            [shop.chat_channel],
        )
        time.sleep(size(1, 30))
    finally:
        os.kill(beat, signal.SIGCONT)
    resumed = time.monotonic()
    eventually(lambda: stack.one(still_open, [shop.chat_channel]) == 0, seconds=60)
    caught_up = time.monotonic() - resumed

    measured(
        f"two beats {lasting} s: {closed_count} windows closed, {repeats} repeats; one silent: red after"
        f" {red:.0f} s, all closed {caught_up:.0f} s after its return"
    )
    assert closed_count == count
    assert repeats == 0
    assert red <= 180
    assert caught_up <= 30
