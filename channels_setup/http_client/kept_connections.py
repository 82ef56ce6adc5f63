"""Whether the other side has ended a kept connection."""

from __future__ import annotations

import select

import pycurl

MAX_REMEMBERED = 512  # more than libcurl keeps

Ends = tuple[str, int, str, int]  # address and port of the other side, and ours


class KeptConnections:
    """The sockets of connections on which a call has ended, by the addresses of both ends.

    libcurl looks at its kept connections once a second only. A request on a connection that the server has ended since
    would have no response and an unknown outcome, although nothing arrived. Connections to different servers may have
    the same local port.
    """

    def __init__(self) -> None:
        self._descriptors: dict[Ends, int] = {}

    def remember(self, handle: pycurl.Curl) -> None:
        """Remember the connection of a call that has just ended."""
        descriptor = handle.getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:  # closed
            return
        if len(self._descriptors) >= MAX_REMEMBERED:
            del self._descriptors[next(iter(self._descriptors))]
        server = handle.getinfo(pycurl.PRIMARY_IP), handle.getinfo(pycurl.PRIMARY_PORT)
        self._descriptors[*server, handle.getinfo(pycurl.LOCAL_IP), handle.getinfo(pycurl.LOCAL_PORT)] = descriptor

    def has_ended(self, ends: Ends) -> bool:
        """Return whether a kept connection that is about to be used has something to read: its end, or stray data."""
        descriptor = self._descriptors.pop(ends, None)
        if descriptor is None:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
