"""Slots of a web process: each has a database connection, which is passed from thread to thread."""

import queue
from typing import Any

from django.db import connections


class ConnectionSlots:
    def __init__(self, count: int) -> None:
        self.free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            connection = connections.create_connection("default")
            connection.inc_thread_sharing()
            self.free.put(connection)

    def take(self) -> None:
        """Give this thread a slot. Waits until one is free."""
        self.attach(self.free.get())

    def release(self) -> None:
        """Give up this thread's slot, if it has one."""
        slot = self.detach()
        if slot is not None:
            self.free.put(slot)

    def attach(self, slot: Any) -> None:
        """Give this thread the slot that another thread detached."""
        connections["default"] = slot

    def detach(self) -> Any | None:
        """Take this thread's slot away and return it, for another thread. None if it has none.

        Closes the connection that Django opened for a query after the slot was given up.
        """
        for connection in connections.all(initialized_only=True):
            if connection.alias == "default":
                del connections["default"]
                if connection.allow_thread_sharing:
                    return connection
                connection.close()
        return None
