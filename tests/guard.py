"""No test sends a byte beyond loopback: connecting elsewhere raises, whatever library tries."""

import ipaddress
import socket
from typing import Any


class LeftLoopback(AssertionError):
    """Not an OSError, so that no retry or fallback swallows it."""


def stay_on_loopback() -> None:
    """Wraps connect() for the whole process; the browser and the worker have guards of their own."""
    if getattr(socket.socket.connect, "is_guard", False):
        return
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


def guarded(connect: Any) -> Any:
    def checked_connect(self: socket.socket, address: Any, *rest: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            raise LeftLoopback(f"A test tried to reach {address[0]}:{address[1]}.")
        return connect(self, address, *rest)

    checked_connect.is_guard = True  # type: ignore[attr-defined]  # our own mark
    return checked_connect


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
