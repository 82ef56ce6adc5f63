"""Deadline for request bodies: end the connections of bodies that do not arrive in time.

Granian's `read` waits for all requested bytes, without timeout or interruption, so a slow sender would hold its reader
thread forever. Ending the connection ends the wait. Granian does not tell which connection a request belongs to. The
kernel tells the peer of each connection, and when it last carried bytes.
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
GRACE_SECONDS = 5.0  # time to answer a request that arrived on a long idle connection
LAST_SENT = struct.Struct("I")  # milliseconds, in struct tcp_info of Linux
LAST_SENT_AT = 44
OverdueConnections = dict[tuple[Any, ...], float]  # peer of a connection → since when it is overdue

logger = logging.getLogger(__name__)


def start_late_body_watch(arrivals: Arrivals, *, port: int) -> None:
    """Enforce the deadline from a thread of this process. Linux only, because it needs struct tcp_info."""
    if sys.platform == "linux":
        threading.Thread(target=_watch_bodies, args=(arrivals, port), daemon=True).start()


def _watch_bodies(arrivals: Arrivals, port: int) -> None:
    overdue: OverdueConnections = {}
    while True:
        time.sleep(CHECK_INTERVAL)
        end_late_bodies(arrivals, port=port, overdue=overdue)


def end_late_bodies(arrivals: Arrivals, *, port: int, overdue: OverdueConnections) -> None:
    """End the connections of late bodies. Errors are logged, because they must not end the watch."""
    try:
        peers, seconds = arrivals.expire()
        if peers:
            end_unanswered_connections(peers, port=port, seconds=seconds, overdue=overdue)
        else:
            overdue.clear()
    except Exception:  # for example, out of descriptors or memory
        logger.exception("late request bodies not ended")


def end_unanswered_connections(
    peers: Collection[str], *, port: int, seconds: float, overdue: OverdueConnections
) -> int:
    """Shut down reading on these peers' connections that had no response for `seconds`. Return their number.

    The reader can still send an error response. A request that is being processed would lose its response, so a
    connection is ended only after it has been overdue for a while; `overdue` records since when. Idle connections of
    these peers end, too, which clients must expect anyway.
    """
    now, before = time.monotonic(), dict(overdue)
    overdue.clear()
    addresses = {_normalized_peer(peer) for peer in peers}
    count = 0
    for connection in _connections():
        with suppress(OSError), connection:
            if connection.getsockname()[1] != port or _normalized_peer(connection.getpeername()[0]) not in addresses:
                continue  # outgoing connections, such as to the database, have another local port
            if _milliseconds_since_answer(connection) < seconds * 1000:
                continue
            peer = connection.getpeername()
            overdue[peer] = before.get(peer, now)
            if now - overdue[peer] >= min(GRACE_SECONDS, seconds / 2):
                connection.shutdown(socket.SHUT_RD)
                count += 1
    return count


def _connections() -> Iterator[socket.socket]:
    """Yield duplicates of this process's TCP sockets, because a descriptor can be reused at any time."""
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
    """Return the milliseconds since the last sent data, or since the start of the connection."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(LAST_SENT.unpack_from(info, LAST_SENT_AT)[0])


def _normalized_peer(text: str) -> str:
    with suppress(ValueError):
        address = ipaddress.ip_address(text.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    return text
