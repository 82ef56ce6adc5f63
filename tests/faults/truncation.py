"""Requests with a truncated body, in every form that a sender or a network can produce."""

from __future__ import annotations

import gzip
import http.client
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

PATIENCE = 20
CLOSED = 0  # the connection ended without a response
REFUSED = (CLOSED, 400, 411)
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Request:
    path: str
    content_type: str
    body: bytes
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, *framing: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, *framing, "", ""]).encode()


def _length(request: Request, sent: bytes, *more: str) -> bytes:
    return request.head(f"Content-Length: {len(request.body)}", *more) + sent


def _chunked(request: Request, after_head: bytes) -> bytes:
    return request.head("Transfer-Encoding: chunked") + after_head


def _chunk(body: bytes, *, size: str = "") -> bytes:
    return (size or f"{len(body):x}").encode() + b"\r\n" + body + b"\r\n"


def _gzip(request: Request) -> bytes:
    packed = gzip.compress(request.body)
    return request.head(f"Content-Length: {len(packed)}", "Content-Encoding: gzip") + packed[:-9]


# Form → the bytes. Then the sender closes its side and waits for the response, unless ENDINGS says otherwise.
FORMS = {
    "short by one byte": lambda r: _length(r, r.body[:-1]),
    "short by half": lambda r: _length(r, r.body[: len(r.body) // 2]),
    "nothing sent": lambda r: _length(r, b""),
    "closed": lambda r: _length(r, r.body[: len(r.body) // 2]),
    "reset": lambda r: _length(r, r.body[: len(r.body) // 2]),
    "expect, never sent": lambda r: _length(r, b"", "Expect: 100-continue"),
    "gzip, cut off": _gzip,
    "length and chunks": lambda r: _length(r, _chunk(r.body), "Transfer-Encoding: chunked"),
    "two lengths": lambda r: _length(r, r.body, f"Content-Length: {len(r.body) + 9}"),
    "chunks without an end": lambda r: _chunked(r, _chunk(r.body)),
    "last chunk cut off": lambda r: _chunked(r, _chunk(r.body) + b"0\r\n"),
    "bad chunk size": lambda r: _chunked(r, _chunk(r.body) + b"zz\r\n"),
    "negative chunk size": lambda r: _chunked(r, _chunk(r.body, size="-1")),
    "chunk too short": lambda r: _chunked(r, _chunk(r.body, size=f"{len(r.body) * 2:x}")),
    "chunk too long": lambda r: _chunked(r, _chunk(r.body, size=f"{len(r.body) // 2:x}") + b"0\r\n\r\n"),
    "oversized chunk": lambda r: _chunked(r, _chunk(r.body, size="7fffffffffffffff")),
    "overflowing chunk": lambda r: _chunked(r, _chunk(r.body, size="1" + "0" * 17)),
    "broken trailer": lambda r: _chunked(r, _chunk(r.body) + b"0\r\nno colon \0\r\n\r\n"),
}
ENDINGS = {"closed": "close", "reset": "reset"}


def send(port: int, request: Request, form: str = "") -> int:
    """Send the request, complete or truncated in this form. Return the status, or CLOSED."""
    line = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    with line:
        line.sendall(FORMS[form](request) if form else _length(request, request.body))
        ending = ENDINGS.get(form)
        if ending == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        if ending:
            return CLOSED
        if form:
            line.shutdown(socket.SHUT_WR)
        with suppress(OSError, http.client.HTTPException):
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return answer.status
    return CLOSED
