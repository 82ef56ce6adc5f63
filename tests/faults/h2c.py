"""Minimal cleartext HTTP/2 client of an attacker: the preface, and POSTs that never end."""

from __future__ import annotations

import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
UPGRADE = (
    b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
)
# :method POST and :scheme http from the static table, :path and :authority spelled out
HEADERS = b"\x83\x86" + b"\x04\x07/login/" + b"\x01\x09127.0.0.1"


def stream(number: int) -> bytes:
    """Return a HEADERS frame that begins a POST, and a DATA frame that is not its end."""
    identifier = (2 * number + 1).to_bytes(4)
    return _frame(1, 4, identifier, HEADERS) + _frame(0, 0, identifier, b"x")


def _frame(kind: int, flags: int, identifier: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + identifier + payload


def connect(port: int, *, streams: int, upgrade: bool) -> bytes:
    """Open one connection with unfinished streams. Return the server's bytes until it closed the connection."""
    received = b""
    line = socket.create_connection(("127.0.0.1", port), timeout=20)
    with line:
        try:
            if upgrade:
                line.sendall(UPGRADE)
                received = line.recv(4096)
            line.sendall(PREFACE + b"".join(stream(number) for number in range(streams)))
            while part := line.recv(4096):
                received += part
        except ConnectionError:
            pass
    return received
