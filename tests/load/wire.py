"""Sender and receiver of a benchmark, each in its own process.

They use plain sockets and asyncio, to leave the CPU to the portal.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


class ReceiverProtocol(asyncio.Protocol):
    """Protocol that records arrivals, with the ``sent`` stamp of the text if there is one. ``/slow`` takes 50 ms."""

    def __init__(self, arrived: list[tuple[float, float]]) -> None:
        self.arrived, self.buffer = arrived, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            total = end + 4 + _length(self.buffer[:end])
            if len(self.buffer) < total:
                return
            head, body, self.buffer = self.buffer[:end], self.buffer[end + 4 : total], self.buffer[total:]
            at = body.find(b"sent=")
            self.arrived.append((time.time(), float(body[at + 5 : at + 22]) if at >= 0 else 0.0))
            if head.startswith(b"POST /slow"):
                asyncio.get_running_loop().call_later(0.05, self.transport.write, ANSWER)
            else:
                self.transport.write(ANSWER)


def _serve_posts(pipe: Connection) -> None:
    arrived: list[tuple[float, float]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ReceiverProtocol(arrived), "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        stopped = asyncio.Event()
        loop.add_reader(pipe.fileno(), obey, stopped)
        await stopped.wait()

    def obey(stopped: asyncio.Event) -> None:
        try:
            command = pipe.recv()
        except EOFError:  # the benchmark died
            command = "stop"
        if command == "stop":
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            stopped.set()
            return
        pipe.send(list(arrived) if command == "all" else len(arrived))
        if command == "all":
            arrived.clear()

    asyncio.run(serve())


class PostReceiver:
    """Server in its own process that accepts every POST."""

    def __init__(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=_serve_posts, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # ends the wait if the receiver dies
        self.port = self.pipe.recv()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self) -> int:
        self.pipe.send("count")
        return int(self.pipe.recv())

    def pop_arrivals(self) -> list[tuple[float, float]]:
        """Return the times of arrival and of sending for all requests so far, and clear the list."""
        self.pipe.send("all")
        found: list[tuple[float, float]] = self.pipe.recv()
        return found

    def stop(self) -> None:
        self.pipe.send("stop")
        self.process.join(5)


class SenderProtocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer, self.answer = b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(0)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end >= 0 and len(self.buffer) >= end + 4 + _length(self.buffer[:end]):
            status, self.buffer = int(self.buffer.split(b" ", 2)[1]), b""
            if not self.answer.done():
                self.answer.set_result(status)

    async def post(self, request: bytes) -> int:
        if self.transport.is_closing():
            return 0
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return int(await self.answer)


class Sent(NamedTuple):
    """What the sender did. The times are those of ``time.time()``."""

    began: float
    seconds: float
    statuses: dict[int, int]
    requests: list[tuple[float, float, float]]  # sent, answered, seconds behind the rate
    cpu_seconds: float

    def took(self) -> list[float]:
        return [answered - sent for sent, answered, _late in self.requests]


def _post_all(pipe: Connection, port: int, job: dict[str, Any]) -> None:
    async def run() -> None:
        numbers = iter(range(job["count"]))
        statuses: dict[int, int] = {}
        sent: list[tuple[float, float, float]] = []
        cpu, started, began = time.process_time(), time.monotonic(), time.time()

        async def line() -> None:
            _transport, poster = await asyncio.get_running_loop().create_connection(SenderProtocol, "127.0.0.1", port)
            for number in numbers:
                due = number / job["rate"] if job["rate"] else time.monotonic() - started
                await asyncio.sleep(max(0.0, started + due - time.monotonic()))
                late = time.monotonic() - started - due
                body = _signed_body(number, job) if job["secret"] else _body(number, job)
                request = _request(job["path"], body, secret=job["secret"])
                at = time.time()
                status = await poster.post(request)
                sent.append((at, time.time(), late))
                statuses[status] = statuses.get(status, 0) + 1

        await asyncio.gather(*(line() for _ in range(job["lines"])))
        seconds = time.monotonic() - started
        pipe.send(Sent(began, seconds, statuses, sent, time.process_time() - cpu))

    asyncio.run(run())


def _body(number: int, job: dict[str, Any]) -> bytes:
    """Return a body with ``batch`` messages in the training phone's format."""
    many = [
        {
            "type": "message",
            "id": f"{job['name']}-{number}-{each}",
            "from": {"id": f"c{(number * job['batch'] + each) % 500}", "name": "Анна Соколова"},
            "text": f"sent={time.time():017.6f} Здравствуйте! Подскажите, пожалуйста, когда будет готов мой заказ?",
        }
        for each in range(job["batch"])
    ]
    body: Any = many[0] if job["batch"] == 1 else {"events": many}
    return json.dumps(body, ensure_ascii=False).encode()


def _signed_body(number: int, job: dict[str, Any]) -> bytes:
    """Return a body in the Graph API's format: one third messages, the rest statuses, as for a busy number."""
    now, name = str(int(time.time())), job["name"]
    each: dict[str, list[Any]] = {"messages": [], "statuses": []}
    for place in range(job["batch"]):
        who, wamid = f"4477009{place % 500:05d}", f"wamid.{name}.{number}.{place}"
        if place % 3 == 0:
            item = {"from": who, "id": wamid, "timestamp": now, "type": "text", "text": {"body": "Когда заказ?"}}
            each["messages"].append(item)
        else:
            item = {"id": wamid, "status": "delivered", "timestamp": now, "recipient_id": who}
            each["statuses"].append(item | {"pricing": {"pricing_model": "PMP", "category": "service"}})
    changes = [
        {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, part: items}}
        for part, items in each.items()
    ]
    body = {"object": "whatsapp_business_account", "entry": [{"id": "2", "changes": changes}]}
    return json.dumps(body).encode()


def _request(path: str, body: bytes, *, secret: str = "") -> bytes:
    headers = ("Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}")
    if secret:
        headers += (f"X-Hub-Signature-256: sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}",)
    return "\r\n".join((f"POST {path} HTTP/1.1", *headers, "", "")).encode() + body


def post_all(
    port: int, path: str, *, name: str, count: int, lines: int = 16, rate: float = 0, batch: int = 1, secret: str = ""
) -> Sent:
    """Send ``count`` POSTs over ``lines`` persistent connections, as fast as possible or at ``rate`` per second.

    With a ``secret``, the bodies have the Graph API's format and are signed.
    """
    mine, theirs = multiprocessing.Pipe()
    job = {"path": path, "name": name, "count": count, "lines": lines, "rate": rate, "batch": batch}
    job["secret"] = secret
    process = multiprocessing.get_context("spawn").Process(target=_post_all, args=(theirs, port, job), daemon=True)
    process.start()
    theirs.close()  # ends the wait if the sender dies
    limit = 60 + count / 20
    if not mine.poll(limit):
        process.kill()
        raise TimeoutError(f"{path}: {count} requests were not answered within {limit:.0f} s")
    try:
        result: Sent = mine.recv()
    except EOFError:
        raise RuntimeError(f"{path}: the sender died") from None
    process.join(10)
    return result
