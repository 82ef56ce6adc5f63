"""Whether the other side has ended a kept connection."""

from __future__ import annotations

import select

import pycurl

MAX_REMEMBERED = 512  # more than libcurl keeps


class KeptConnections:
    """The sockets of connections on which a call has ended, by their local address.

    libcurl looks at its kept connections once a second only. A request on a connection that the server has ended since
    would have no response and an unknown outcome, although nothing arrived.
    """

    def __init__(self) -> None:
        self._descriptors: dict[tuple[str, int], int] = {}

    def remember(self, handle: pycurl.Curl) -> None:
        """Remember the connection of a call that has just ended."""
        descriptor = handle.getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:  # closed
            return
        if len(self._descriptors) >= MAX_REMEMBERED:
            del self._descriptors[next(iter(self._descriptors))]
        self._descriptors[handle.getinfo(pycurl.LOCAL_IP), handle.getinfo(pycurl.LOCAL_PORT)] = descriptor

    def has_ended(self, address: str, port: int) -> bool:
        """Tell whether a connection that is about to be used is a kept one with an end, or anything else, to read."""
        descriptor = self._descriptors.pop((address, port), None)
        if descriptor is None:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
