"""The portal in-process: the checks of config.serving.body_buffer, then Django, on the test's database connection."""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import close_old_connections, transaction

from config.serving.body_buffer import BAD_CONTENT_TYPE, BodyBuffer, RejectedBody, is_readable_content_type


@dataclass
class Request:
    """A request as the web server passes it to the application."""

    method: str
    path: str  # decoded
    query: str = ""
    body: bytes = b""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    origin: str = ""  # role that sends it, for the report

    def __str__(self) -> str:
        body = self.body if len(self.body) < 1500 else self.body[:1500] + b"..."
        query = self.query if len(self.query) < 600 else self.query[:600] + "..."
        head = f"{self.origin} {self.method} {self.path[:300]!r} ?{query} {self.content_type[:90]!r}"
        return f"{head} {self.headers} {body!r}"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    trace: str = ""


class Errors(logging.Handler):
    """Log handler that keeps the tracebacks of errors that a view caught and logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.traces: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.traces.append("".join(traceback.format_exception(*record.exc_info)))


class Portal:
    def __init__(self) -> None:
        from config.wsgi import django

        self.django = django
        self.gate = BodyBuffer(django, slots=0, is_refused=lambda _path: False)
        for signal in (request_started, request_finished):  # the receivers would close the test's connection
            signal.disconnect(close_old_connections)
        self.errors = Errors()
        logging.getLogger().addHandler(self.errors)
        got_request_exception.connect(self._note)

    def close(self) -> None:
        logging.getLogger().removeHandler(self.errors)
        got_request_exception.disconnect(self._note)
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)

    def _note(self, **_more: Any) -> None:
        self.errors.traces.append(traceback.format_exc())

    def call(self, request: Request, *, cookies: str = "") -> Answer:
        """Answer one request and roll back its changes."""
        self.errors.traces.clear()
        with transaction.atomic():
            answer = self._call(request, cookies)
            transaction.set_rollback(True)
        if self.errors.traces:
            answer.trace = self.errors.traces[0]
        return answer

    def _call(self, request: Request, cookies: str) -> Answer:
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.encode("utf-8", "replace").decode("latin-1"),
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.content_type,
            "CONTENT_LENGTH": str(len(request.body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": settings.PUBLIC_HOST,
            "HTTP_ACCEPT_LANGUAGE": "en",
            "wsgi.input": BytesIO(request.body),
            "wsgi.url_scheme": "http",
        }
        if cookies:
            environ["HTTP_COOKIE"] = cookies
        environ.update(request.headers)
        responses: list[Any] = []
        try:
            if not is_readable_content_type(request.headers.get("CONTENT_TYPE", request.content_type)):
                return Answer(400, {}, json.dumps({"error": BAD_CONTENT_TYPE.sentence}).encode())
            environ["wsgi.input"] = self.gate.read_body(environ)
            response = self.django(environ, lambda status, headers, *more: responses.append((status, headers)))
            body = b"".join(response)
            response.close()
        except RejectedBody as refused:
            return Answer(int(refused.status[:3]), {}, json.dumps({"error": refused.sentence}).encode())
        except Exception:
            return Answer(599, {}, b"", traceback.format_exc())
        status, headers = responses[-1]
        return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, body)
