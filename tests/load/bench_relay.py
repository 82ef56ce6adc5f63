"""Benchmark of the message flow (intake, inbox, outbox), compared with a naive implementation in the same run.

    python -m tests.load.bench_relay [--size 3000]

Servers, web, worker, sender and receiver all run on this machine, so the results that matter are ratios. The table
shows the targets.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.load.results import print_row
from tests.load.wire import PostReceiver, post_all

CLOUD = {"phone_number_id": "1", "waba_id": "2", "access_token": "EAAbench-000000", "app_secret": "bench-app-secret"}
PROJECT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Bench:
    def __init__(self, folder: Path) -> None:
        from channels_setup import account_settings
        from config.devstack.supervisor import web_command, worker_command

        self.folder, self.receiver, self.port = folder, PostReceiver(), free_port()
        self.web = web_command(host="127.0.0.1", port=self.port, processes=2)
        self.worker = worker_command(queues=("inbound", "outbound", "housekeeping"), concurrency=4)
        self.naive = [*worker_command(queues=("naive",), concurrency=4, name="naive")]
        self.naive[self.naive.index("config.celery")] = "tests.load.naive.tasks"
        self.phone = self.channel("sandbox", "")
        self.cloud = self.channel("whatsapp_cloud", "")
        account_settings.save_values(self.cloud, CLOUD)
        self.runs = 0

    def channel(self, kind: str, redirect_url: str, *, watches: Any = None) -> Any:
        from channels_setup.models import ApiChannel, ChannelState, ChatChannel
        from channels_setup.provisioning import add_api_channel

        chat_channel = (
            watches.default_chat_channel if watches else ChatChannel.objects.create(name=f"{kind} {time.time()}")
        )
        made: ApiChannel = add_api_channel(
            chat_channel=chat_channel, kind=kind, name=f"{kind} {time.time()}", redirect_url=redirect_url
        )
        ApiChannel.objects.filter(pk=made.pk).update(state=ChannelState.LIVE)
        return made

    @contextmanager
    def running(self, *commands: list[str]) -> Iterator[None]:
        processes = []
        log = open(self.folder / "processes.log", "ab")  # noqa: SIM115  # closed below
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.load.naive.settings"}
        try:
            for command in commands:
                command = [sys.executable, *command[1:]]
                processes.append(subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log))
            if self.web in commands:
                until(self.is_up, seconds=60)
            time.sleep(4)  # workers do not report when they are ready
            yield
        except Exception:
            print((self.folder / "processes.log").read_text()[-3000:])
            raise
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            log.close()

    def is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def post(self, path: str, **job: Any) -> dict[str, Any]:
        self.runs += 1
        result = post_all(self.port, path, name=f"r{self.runs}", **job)
        assert set(result["statuses"]) == {200}, result["statuses"]
        return result


def until(condition: Callable[[], bool], *, seconds: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "It took too long."
        time.sleep(0.02)
    return time.monotonic() - started


def intake(bench: Bench, size: int) -> None:
    from bridge.models import WebhookEvent

    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    with bench.running(bench.web):
        for turn in range(4):
            for name, path in (("bare", "/bare"), ("ours", bench.phone.webhook_path)):
                result = bench.post(path, count=size)
                if turn:  # the first run is a warm-up
                    rates[name].append(size / result["seconds"])
        many = bench.post(bench.phone.webhook_path, count=10, lines=1, batch=1_000)
        signed = bench.post(bench.cloud.webhook_path, count=10, lines=1, batch=1_000, secret=CLOUD["app_secret"])
    WebhookEvent.objects.filter(api_channel=bench.cloud).delete()  # the inbox counts plain messages
    bare, ours = (statistics.median(rates[name]) for name in ("bare", "ours"))
    print_row(
        "intake, one message a request",
        f"{ours:.0f}/s, bare view {bare:.0f}/s: {ours / bare:.2f}",
        "≥ 0.9 of the bare view",
    )
    print_row("intake, 1,000 in one POST", f"{statistics.median(many['took']) * 1000:.0f} ms median", "≤ 250 ms")
    took = [seconds * 1000 for seconds in signed["took"]]
    reached = f"{statistics.median(took):.0f} ms median, {max(took):.0f} ms at most"
    print_row("intake, 1,000 of Meta's in one signed POST", reached, "≤ 250 ms")


def inbox(bench: Bench) -> None:
    """Measure how fast the workers process the events that the intake stored."""
    from django.db import connection

    from bridge.models import Message, WebhookEvent

    def left() -> int:
        return WebhookEvent.objects.filter(state="new").count()

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    before = Message.objects.count()
    with bench.running(bench.worker):
        from bridge import wakeups

        started = time.monotonic()
        wakeups.notify_workers(wakeups.INBOUND)
        while left():
            wakeups.notify_workers(wakeups.INBOUND)
            time.sleep(0.05)
        took = time.monotonic() - started
    stored = Message.objects.count() - before
    print_row("the inbox", f"{stored} messages in {took:.1f} s: {stored / took:.0f}/s", "≥ 10,000/s")


def end_to_end(bench: Bench, size: int) -> None:
    def through(path: str, count: int) -> float:
        bench.receiver.pop_arrivals()
        started = time.monotonic()
        bench.post(path, count=count)
        until(lambda: bench.receiver.count() >= count, seconds=600)
        return count / (time.monotonic() - started)

    bench.channel("acebot", bench.receiver.url("/hook"), watches=bench.phone)
    with bench.running(bench.web, bench.worker):
        through(bench.phone.webhook_path, 600)
        ours = through(bench.phone.webhook_path, size)
        bench.receiver.pop_arrivals()
        seconds = 8
        bench.post(bench.phone.webhook_path, count=int(ours / 2 * seconds), rate=ours / 2)
        time.sleep(2)
        lags = sorted(arrived - sent for arrived, sent in bench.receiver.pop_arrivals())
    with bench.running(bench.web, bench.naive):
        path = f"/each?to={bench.receiver.url('/hook')}"
        through(path, 200)
        naive = through(path, max(size // 4, 300))
    print_row("end to end", f"{ours:.0f}/s, a task for each message {naive:.0f}/s: {ours / naive:.1f} ×", "≥ 8 ×")
    p50, p99 = (lags[int(len(lags) * share)] * 1000 for share in (0.5, 0.99))
    print_row("lag at half load", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms", "p50 ≤ 20 ms, p99 ≤ 100 ms")


def slow_destination(bench: Bench, size: int) -> None:
    phone = bench.channel("sandbox", "")
    bench.channel("acebot", bench.receiver.url("/slow"), watches=phone)
    with bench.running(bench.web):
        bench.post(phone.webhook_path, count=size)
    bench.receiver.pop_arrivals()
    with bench.running(bench.worker):
        from bridge import wakeups

        started = time.monotonic()
        wakeups.notify_workers(wakeups.INBOUND)
        while bench.receiver.count() < size:
            wakeups.notify_workers(wakeups.INBOUND)
            wakeups.notify_workers(wakeups.OUTBOUND)
            assert time.monotonic() - started < 600
            time.sleep(0.05)
        times = sorted(arrived for arrived, _sent in bench.receiver.pop_arrivals())
    rate = len(times) * 0.8 / (times[int(len(times) * 0.9)] - times[int(len(times) * 0.1)])
    print_row("a destination that takes 50 ms", f"{rate:.0f}/s", "≥ 1,500/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3_000)
    size = parser.parse_args().size
    folder = Path(tempfile.mkdtemp(prefix="okno-load-"))
    os.environ |= {"DATA_DIR": str(folder), "DEMO": "0", "DJANGO_SETTINGS_MODULE": "tests.load.naive.settings"}
    os.environ |= {"RELAY_ALLOWED_PRIVATE_CIDRS": "127.0.0.0/8", "WORKER_CONCURRENCY": "4"}
    from config.devstack import environment_setup

    environment_setup.prepare_environment(["manage.py", "migrate"])
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    bench = Bench(folder)
    print(
        f"load at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n\n"
        "| measurement | target | result |\n|---|---|---|"
    )
    try:
        intake(bench, size)
        inbox(bench)
        end_to_end(bench, size)
        slow_destination(bench, size)
    finally:
        bench.receiver.stop()
        if environment_setup.servers:
            environment_setup.servers.release()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
