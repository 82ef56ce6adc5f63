"""Guard against traffic beyond loopback: connecting elsewhere raises, and names are not resolved.

tests.settings installs it, so the Celery worker of the tests is guarded too. The browser has its own resolver rule.
"""

import ipaddress
import socket
from typing import Any

from channels_setup.http_client import transfer


class LeftLoopback(AssertionError):
    """A test tried to leave loopback. No OSError, so no retry or fallback can swallow it."""


def stay_on_loopback() -> None:
    """Install the guard in this process. Calling it twice is harmless."""
    if getattr(socket.socket.connect, "is_guard", False):
        return
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
    socket.getaddrinfo = without_name_servers(socket.getaddrinfo)
    transfer.open_socket = guarded_open_socket(transfer.open_socket)


def without_name_servers(getaddrinfo: Any) -> Any:
    """Resolve localhost and numeric addresses (127.1 and 0x7f.1 too, as glibc does). No other name exists."""

    def local_getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        numbers_only = 0 if host in (None, "", "localhost", b"localhost") else socket.AI_NUMERICHOST
        return getaddrinfo(host, port, family, type, proto, flags | numbers_only)

    return local_getaddrinfo


def guarded(connect: Any) -> Any:
    def checked_connect(self: socket.socket, address: Any, *rest: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            raise LeftLoopback(f"A test tried to reach {address[0]}:{address[1]}.")
        return connect(self, address, *rest)

    checked_connect.is_guard = True  # type: ignore[attr-defined]  # read by stay_on_loopback
    return checked_connect


def guarded_open_socket(open_socket: Any) -> Any:
    """libcurl connects by itself, so its sockets are checked when they are opened."""

    def checked_open_socket(target: Any) -> Any:
        if not is_loopback(target.addr[0]):
            raise LeftLoopback(f"A test tried to reach {target.addr}.")
        return open_socket(target)

    return checked_open_socket


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
