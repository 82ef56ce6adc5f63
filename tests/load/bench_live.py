"""Benchmark of live updates: the poll and server-sent events, with many open desks on the real web server.

    python -m tests.load.bench_live --desks 200 --seconds 20       with a new database and a few chats
    python -m tests.load.bench_live --data-dir FOLDER              with the chats of a data folder

First nothing happens, then a chat changes every few seconds. Prints the server's CPU and memory, its threads, the time
from a change until a desk has its new list, and the time of an ordinary page meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.load.memory import list_descendants, measure_memory
from tests.load.relay import usage
from tests.load.relay.stack import Stack, prepare

POLL_SECONDS = 1.5  # as in static/polling.js
CHANGE_SECONDS = 3.0
STREAM_PATH = "/bench-stream/"


class Desk:
    """An open desk: one connection for requests, and with server-sent events another one for the stream."""

    def __init__(self, port: int, cookie: str) -> None:
        self.port, self.cookie, self.token, self.version = port, cookie, "", ""
        self.arrivals: list[float] = []
        self.channel: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Send a request, again if the server has closed the idle connection."""
        for attempt in range(2):
            if self.channel is None:
                self.channel = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                return await self.converse(*self.channel, path, headers)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.channel = None
                if attempt:
                    raise
        raise AssertionError

    async def converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", f"Cookie: {self.cookie}", "HX-Request: true"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
        return int(head.split()[1]), await reader.readexactly(length) if length else b""

    async def poll(self) -> bool:
        """Ask for changes, and return whether there were any."""
        path = f"/chats/updates/?{urlencode({'list': self.version})}"
        status, body = await self.get(path, Okno_Poll_Token=self.token)
        if status == 204:
            return False
        assert status == 200, (status, body[:200])
        answer = json.loads(body)
        self.token, self.version = answer.get("poll_token", self.token), answer["list"]["version"]
        self.arrivals.append(time.monotonic())
        return True

    async def run_polls(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def run_stream(self, delay: float) -> None:
        await asyncio.sleep(delay)
        await self.poll()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {STREAM_PATH} HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode())
        while True:
            if b"changed" in await reader.readuntil(b"\n\n"):
                await self.poll()


async def measure(stack: Stack, kind: str, cookie: str, given: argparse.Namespace, change: Any) -> dict[str, str]:
    web = stack.processes["web"].pid
    desks = [Desk(stack.port, cookie) for _ in range(given.desks)]
    visitor = Desk(stack.port, cookie)
    await visitor.poll()
    memory = measure_memory(web)["total"]
    spread = POLL_SECONDS if kind == "poll" else 3.0
    runs = [
        asyncio.create_task((desk.run_polls if kind == "poll" else desk.run_stream)(spread * number / given.desks))
        for number, desk in enumerate(desks)
    ]
    await asyncio.sleep(spread + 5)
    cpu = read_cpu(web)
    await asyncio.sleep(given.seconds)
    idle = (read_cpu(web) - cpu) / given.seconds
    pages: list[float] = []
    waits: list[float] = []
    started, cpu = time.monotonic(), read_cpu(web)
    while time.monotonic() - started < given.seconds:
        await asyncio.to_thread(change)
        at = time.monotonic()
        await asyncio.sleep(0.3)
        asked = time.monotonic()
        await visitor.get("/desk/settings/")
        pages.append(time.monotonic() - asked)
        await asyncio.sleep(max(0.0, at + CHANGE_SECONDS - time.monotonic()))
        waits += [min((one for one in desk.arrivals if one >= at), default=at + 60) - at for desk in desks]
    busy = (read_cpu(web) - cpu) / (time.monotonic() - started)
    threads = sum(count_threads(pid) for pid in list_descendants(web))
    memory = measure_memory(web)["total"] - memory
    for run in runs:
        run.cancel()
    failed = [result for result in await asyncio.gather(*runs, return_exceptions=True) if isinstance(result, Exception)]
    waits.sort()
    return {
        "idle CPU": f"{idle:.1%} of a core",
        "CPU with a change every 3 s": f"{busy:.1%}",
        "from change to new list, p50 / p95": f"{waits[len(waits) // 2]:.2f} / {waits[int(len(waits) * 0.95)]:.2f} s",
        "an ordinary page, median": f"{statistics.median(pages) * 1000:.0f} ms",
        "threads of the web processes": str(threads),
        "memory added": f"{memory:.0f} MB",
        "desks that failed": str(len(failed)),
    }


def read_cpu(web: int) -> float:
    """Return the CPU seconds of the web processes so far."""
    return usage.measure_cpu({"web": [web]})["web"]


def count_threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--desks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    folder = given.data_dir.resolve() if given.data_dir else Path(tempfile.mkdtemp(prefix="okno-live-"))
    prepare(folder)
    stack = Stack(folder)
    try:
        cookie, change = make_world()
        stack.start_web()
        for kind in ("poll", "server-sent events"):
            print(f"\n{given.desks} desks, {kind} (load {os.getloadavg()[0]:.1f})")
            for name, value in asyncio.run(measure(stack, kind, cookie, given, change)).items():
                print(f"  {name}: {value}")
    finally:
        stack.close()
        from config.devstack import environment_setup

        if environment_setup.servers:
            environment_setup.servers.release()
        if given.data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def make_world() -> tuple[str, Any]:
    """Return the session cookie of an operator with chats, and a function that changes a chat."""
    import redis
    from django.conf import settings
    from django.db.models import F
    from django.test import Client
    from django.utils import timezone

    from bridge.models import Contact, Conversation
    from channels_setup.models import ChatChannel
    from tests.factories import ApiChannelFactory, boris
    from tests.load.live_stream import TOPIC

    api_channel = ApiChannelFactory(name="Bench")
    chat_channel = ChatChannel.objects.create(name="Bench")
    for number in range(60):
        contact = Contact.objects.create(api_channel=api_channel, external_id=f"b{number}", name=f"Client {number}")
        Conversation.objects.create(
            contact=contact,
            api_channel=api_channel,
            chat_channel=chat_channel,
            last_message_at=timezone.now(),
            last_direction="inbound",
        )
    client = Client()
    client.force_login(boris(chat_channel))
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    broker = redis.Redis.from_url(settings.REDIS_URL)

    def change() -> None:
        row = Conversation.objects.filter(chat_channel=chat_channel).order_by("pk")[0]
        Conversation.objects.filter(pk=row.pk).update(unread=F("unread") + 1, last_message_at=timezone.now())
        broker.publish(TOPIC, "1")

    return cookie, change


if __name__ == "__main__":
    main()
