"""Between the web server and Django: a request takes a place only when all of it has arrived.

The web server gives each request a thread and has no limit of time for a body (docs/decisions.md), so a few hundred
senders that never finish would leave nobody to work. Threads that wait for bytes are cheap and many; those that work
are as many as there are places, and each place has a database connection, which goes from thread to thread with it.
What is surely refused (``is_refused``) does not even wait for its body.
"""

import queue
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from typing import IO, Any

from django.conf import settings
from django.db import connections
from django.http import HttpResponseBase

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]

IN_MEMORY = 256 * 1024  # what is larger waits in a temporary file
CHUNK = 64 * 1024
JSON = [("Content-Type", "application/json")]
BESIDES_FILES = 1024 * 1024  # what a form has besides its file


class Gate:
    def __init__(self, application: Application, *, places: int, is_refused: Callable[[str], bool]) -> None:
        self.application, self.is_refused = application, is_refused
        self.is_leaving = False  # each answer is then the last one on its connection
        self.most_bytes = settings.UPLOAD_LIMIT_MB * 1024 * 1024 + BESIDES_FILES
        self.places: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(places):
            connection = connections.create_connection("default")
            connection.inc_thread_sharing()
            self.places.put(connection)

    def __call__(self, scope: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.is_leaving:
            start_response = _last(start_response)
        if self.is_refused(scope["PATH_INFO"]):
            start_response("404 Not Found", JSON)
            return [b'{"error": "No such webhook address."}']
        body = self.whole_body(scope)
        if body is None:
            start_response("413 Payload Too Large", JSON)
            return [b'{"error": "The request body is too large.", "reason": "too_large"}']
        with closing(body):
            scope["wsgi.input"] = body
            place = self.places.get()
            connections["default"] = place
            try:
                response: HttpResponseBase = self.application(scope, start_response)
                if response.streaming:
                    return _streamed(response)
                with closing(response):
                    return [b"".join(response)]
            finally:
                del connections["default"]
                self.places.put(place)

    def whole_body(self, scope: dict[str, Any]) -> IO[bytes] | None:
        """All of it, counted while it comes; None where it is more than anybody here takes."""
        declared = scope.get("CONTENT_LENGTH") or "0"
        is_chunked = "chunked" in scope.get("HTTP_TRANSFER_ENCODING", "").lower()
        length = int(declared[:18]) if declared.isascii() and declared.isdigit() else 0
        if length > self.most_bytes:
            return None
        if not is_chunked and not length:
            return BytesIO()
        source, body, total = scope["wsgi.input"], _room(length if not is_chunked else IN_MEMORY + 1), 0
        while (is_chunked or total < length) and (part := source.read(CHUNK)):
            total += len(part)
            if total > self.most_bytes:
                body.close()
                return None
            body.write(part)
        body.seek(0)
        return body


def _last(start_response: Callable[..., Any]) -> Callable[..., Any]:
    return lambda status, headers, *more: start_response(status, [*headers, ("Connection", "close")], *more)


def _room(length: int) -> IO[bytes]:
    return BytesIO() if length <= IN_MEMORY else tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)


def _streamed(response: HttpResponseBase) -> Iterator[bytes]:
    """Read as fast as the other side takes it, so without a place; whoever asks the database here opens a connection
    of his own, and shuts it."""
    try:
        yield from response
    finally:
        response.close()
        for connection in connections.all(initialized_only=True):
            if not connection.allow_thread_sharing:  # no place's: this may run in any thread, wherever it is let go
                connection.close()
