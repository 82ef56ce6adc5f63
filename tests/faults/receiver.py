"""Server behind a Redirect URL: a behavior per path, and every request written to disk before the response."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.http_server import QueueingHTTPServer

PATIENCE = 40.0  # a hanging response ends after this


@dataclass(frozen=True, kw_only=True)
class Got:
    """One recorded request."""

    path: str
    key: str
    digest: str  # of the body
    at: float
    answered: int  # the status we gave; 0 for none
    attempt: int
    event: dict[str, Any] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return str(self.event.get("text", ""))


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """``kind``: answer, hang, reset, garbage, drip_headers, drip_body, bomb, fat. ``delay`` before the first byte."""

    kind: str = "answer"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    delay: float = 0.0


class HostileReceiver:
    def __init__(self, log: Path) -> None:
        self.behaviors: dict[str, Behavior] = {}
        self.judges: dict[str, Callable[[Got], int]] = {}  # a status for each request, instead of a behavior
        self.got: list[Got] = []
        self.arrived = threading.Condition()
        self.file = open(log, "ab")  # noqa: SIM115  # open as long as the server
        self.stopping = threading.Event()
        self.server = QueueingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def behave(self, path: str, kind: str = "answer", **more: Any) -> None:
        self.behaviors[path] = Behavior(kind=kind, **more)

    def note(self, got: Got) -> None:
        line = {"path": got.path, "key": got.key, "hash": got.digest, "at": got.at, "answered": got.answered}
        line |= {"chat": got.event.get("chat_id"), "message": got.event.get("message_id")}
        with self.arrived:
            self.file.write(json.dumps(line).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self.got.append(got)
            self.arrived.notify_all()

    def on(self, path: str) -> list[Got]:
        with self.arrived:
            return [got for got in self.got if got.path == path]

    def taken(self, path: str) -> dict[str, Got]:
        """Return key -> the first request with a 2xx response."""
        first: dict[str, Got] = {}
        for got in self.on(path):
            if 200 <= got.answered < 300:
                first.setdefault(got.key, got)
        return first

    def wait(self, path: str, count: int, *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while len(self.taken(path)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.taken(path)) >= count

    def close(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.file.close()


def _handler(receiver: HostileReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with suppress(ValueError):
                event = json.loads(body)
            behavior = receiver.behaviors.get(self.path, Behavior())
            kind, status = behavior.kind, behavior.status
            heard: dict[str, Any] = {
                "path": self.path,
                "key": self.headers.get("webhook-id", ""),
                "digest": hashlib.sha256(body).hexdigest(),
                "at": time.time(),
                "attempt": int(self.headers.get("okno-attempt") or 0),
                "event": event if isinstance(event, dict) else {},
                "headers": {name.lower(): text for name, text in self.headers.items()},
                "raw": body,
            }
            if judge := receiver.judges.get(self.path):
                status = judge(Got(answered=0, **heard))
            # Slow and oversized responses begin with status 200, so they count as accepted.
            receiver.note(Got(answered=0 if kind in ("hang", "reset", "garbage", "drip_headers") else status, **heard))
            if behavior.delay:
                receiver.stopping.wait(behavior.delay)
            with suppress(OSError):
                if kind == "answer":
                    self.answer(status, behavior.headers, behavior.body)
                else:
                    self.close_connection = True
                    getattr(self, kind)()

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def hang(self) -> None:
            receiver.stopping.wait(PATIENCE)

        def reset(self) -> None:
            self.connection.close()

        def garbage(self) -> None:
            self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

        def drip_headers(self) -> None:
            self.drip(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n")

        def drip_body(self) -> None:
            self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x")

        def drip(self, first: bytes, again: bytes) -> None:
            self.wfile.write(first)
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and not receiver.stopping.wait(0.2):
                self.wfile.write(again)

        def bomb(self) -> None:
            packed = gzip.compress(b"\0" * 200_000_000, 1)
            head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
            self.wfile.write(head.encode() + packed)

        def fat(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            for _ in range(1_000_000_000 // 65_536):
                self.wfile.write(b"x" * 65_536)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    return Handler
