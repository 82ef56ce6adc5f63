"""An HTTP server on loopback that records every request and gives the configured answers."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.http_server import QueueingHTTPServer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("ascii"), keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the first byte
    hold: Callable[[], object] = lambda: None  # returns when the first byte may be sent


class Receiver:
    """A recording server. Unknown paths get `200 {}`.

    receiver.url("/hook")                           the URL for a channel
    receiver.answer("/hook", status=500)            every request from now on
    receiver.answer("/hook", status=503, times=2)   the next two requests, then the lasting answer again
    receiver.wait_for(3)                            return three requests, or fail the test
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.arrived = threading.Condition()
        self.lasting_answers: dict[str, Answer] = {}
        self.next_answers: dict[str, deque[Answer]] = {}
        self.server = QueueingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(
        self,
        path: str = "/",
        *,
        status: int = 200,
        body: bytes | dict[str, Any] = b"{}",
        headers: dict[str, str] | None = None,
        delay: float = 0.0,
        hold: Callable[[], object] = lambda: None,
        times: int | None = None,
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = Answer(status=status, body=raw, headers=headers or {}, delay=delay, hold=hold)
        if times is None:
            self.lasting_answers[path] = answer
        else:
            self.next_answers.setdefault(path, deque()).extend([answer] * times)

    def record(self, request: Request) -> Answer:
        """Store the request and return the answer to it."""
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
            path = request.path.split("?")[0]
            if answers := self.next_answers.get(path):
                return answers.popleft()
            return self.lasting_answers.get(path, Answer())

    def wait_for(
        self, count: int = 1, *, seconds: float = 60, where: Callable[[Request], bool] = lambda request: True
    ) -> list[Request]:
        """Return all matching requests once there are at least `count`. Fail after `seconds`."""

        def matching() -> list[Request]:
            return [request for request in self.requests if where(request)]

        with self.arrived:
            is_complete = self.arrived.wait_for(lambda: len(matching()) >= count, timeout=seconds)
            assert is_complete, f"{len(matching())} of {count} requests arrived in {seconds} s: {self.requests}"
            return matching()


def handler_for(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            answer = receiver.record(Request(method=self.command, path=self.path, headers=headers, body=body))
            time.sleep(answer.delay)
            answer.hold()
            try:
                self.send_response(answer.status)
                for name, text in ({"Content-Type": "application/json"} | answer.headers).items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except ConnectionError:
                self.close_connection = True  # the caller has closed the connection

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    return Handler
