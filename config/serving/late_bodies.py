"""Deadline for request bodies: end the connections whose body does not arrive.

Granian's `read` waits until it has all the bytes it was asked for, has no timeout and cannot be interrupted, so a
sender that drips or sends nothing would hold its reader thread for as long as it likes. The end of its connection ends
the wait. Granian does not say which connection a request came on; the kernel says from where each one is and when it
last carried bytes.
"""

import ipaddress
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress

from .arrival_limits import Arrivals

CHECK_SECONDS = 1.0
LAST_SENT = struct.Struct("I")  # milliseconds, in Linux' struct tcp_info
LAST_SENT_AT = 44


def start(arrivals: Arrivals, *, port: int) -> None:
    """Enforce the deadline from a thread of this process. Only Linux tells when a connection last carried bytes."""
    if sys.platform == "linux":
        threading.Thread(target=_watch, args=(arrivals, port), daemon=True).start()


def _watch(arrivals: Arrivals, port: int) -> None:
    while True:
        time.sleep(CHECK_SECONDS)
        peers, seconds = arrivals.expire()
        if peers:
            end_unanswered(peers, port=port, seconds=seconds)


def end_unanswered(peers: Collection[str], *, port: int, seconds: float) -> int:
    """Stop reading from those peers' connections to the port that had no answer for so long. Returns how many.

    An answer can still be written. An idle connection of these peers ends, too, which its client must expect anyway.
    """
    addresses = {_address(peer) for peer in peers}
    count = 0
    for connection in _connections():
        with suppress(OSError), connection:
            if connection.getsockname()[1] != port or _address(connection.getpeername()[0]) not in addresses:
                continue  # calls of ours to others, such as the database, have another port on our side
            if _milliseconds_since_answer(connection) >= seconds * 1000:
                connection.shutdown(socket.SHUT_RD)
                count += 1
    return count


def _connections() -> Iterator[socket.socket]:
    """Yield the TCP sockets of this process, as duplicates: the number of one may mean another a moment later."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            number = os.dup(int(name))
            try:
                found = socket.socket(fileno=number)
            except OSError:  # a file
                os.close(number)
                continue
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                yield found
            else:
                found.close()


def _milliseconds_since_answer(connection: socket.socket) -> int:
    """Return the time since we last sent something, or since the connection began."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(LAST_SENT.unpack_from(info, LAST_SENT_AT)[0])


def _address(text: str) -> str:
    with suppress(ValueError):
        address = ipaddress.ip_address(text.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    return text
