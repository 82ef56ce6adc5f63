"""Deadline for request bodies: end the connections whose body does not arrive.

Granian's `read` waits until it has all the bytes it was asked for, has no timeout and cannot be interrupted, so a
sender that drips or sends nothing would hold its reader thread for as long as it likes. The end of its connection ends
the wait. Granian does not say which connection a request came on; the kernel says from where each one is and when it
last carried bytes.
"""

import ipaddress
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from .arrival_limits import Arrivals

CHECK_INTERVAL = 1.0
GRACE_SECONDS = 5.0  # for a request that came on a connection that had long been idle: it is answered by then
LAST_SENT = struct.Struct("I")  # milliseconds, in Linux' struct tcp_info
LAST_SENT_AT = 44
OverdueConnections = dict[tuple[Any, ...], float]  # a connection's other end: since when it had no answer for too long

logger = logging.getLogger(__name__)


def start_late_body_watch(arrivals: Arrivals, *, port: int) -> None:
    """Enforce the deadline from a thread of this process. Only Linux tells when a connection last carried bytes."""
    if sys.platform == "linux":
        threading.Thread(target=_watch_bodies, args=(arrivals, port), daemon=True).start()


def _watch_bodies(arrivals: Arrivals, port: int) -> None:
    suspects: OverdueConnections = {}
    while True:
        time.sleep(CHECK_INTERVAL)
        end_late_bodies(arrivals, port=port, suspects=suspects)


def end_late_bodies(arrivals: Arrivals, *, port: int, suspects: OverdueConnections) -> None:
    """End the connections of bodies that are late now. One failure must not end the watch."""
    try:
        peers, seconds = arrivals.expire()
        if peers:
            end_unanswered_connections(peers, port=port, seconds=seconds, suspects=suspects)
        else:
            suspects.clear()
    except Exception:  # out of descriptors or memory, as in a flood
        logger.exception("late request bodies not ended")


def end_unanswered_connections(
    peers: Collection[str], *, port: int, seconds: float, suspects: OverdueConnections
) -> int:
    """Stop reading from those peers' connections to the port that had no answer for so long. Returns how many.

    Whoever waits for a body can still answer. A request that is being worked on would lose its answer, so a connection
    is ended only when it has been a suspect for a while. `suspects`, since when each is one, is brought up to date.
    An idle connection of these peers ends, too, which its client must expect anyway.
    """
    now, before = time.monotonic(), dict(suspects)
    suspects.clear()
    addresses = {_normalized_peer(peer) for peer in peers}
    count = 0
    for connection in _connections():
        with suppress(OSError), connection:
            if connection.getsockname()[1] != port or _normalized_peer(connection.getpeername()[0]) not in addresses:
                continue  # calls of ours to others, such as the database, have another port on our side
            if _milliseconds_since_answer(connection) < seconds * 1000:
                continue
            peer = connection.getpeername()
            suspects[peer] = before.get(peer, now)
            if now - suspects[peer] >= min(GRACE_SECONDS, seconds / 2):
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


def _normalized_peer(text: str) -> str:
    with suppress(ValueError):
        address = ipaddress.ip_address(text.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    return text
