"""Raw events of many callers, committed together.

While one commit is on its way to the disk, the callers that come meanwhile gather and share the next: one statement,
one commit and one ring of the doorbell for all of them. Each waits until its own row is committed, and learns of a
failure; a row that spoils the statement spoils it for nobody else.
"""

from __future__ import annotations

from threading import Event, Lock

from django.db import InterfaceError, OperationalError

from bridge import wakeups
from bridge.models import WebhookEvent


class PendingWrite:
    """A caller's place in the line."""

    def __init__(self, event: WebhookEvent) -> None:
        self.event = event
        self.done = Event()
        self.is_leader = self.is_stored = False  # who leads commits for all that wait
        self.error: Exception | None = None


class GroupCommitter:
    """The line of one process."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: list[PendingWrite] = []
        self.is_committing = False

    def store(self, event: WebhookEvent) -> None:
        """Return when the event is committed and the workers are called. Raises DatabaseError where it is not."""
        pending = PendingWrite(event)
        with self.lock:
            self.waiting.append(pending)
            pending.is_leader, self.is_committing = not self.is_committing, True
        if not pending.is_leader:
            pending.done.wait()
        if pending.is_leader:
            self._commit()
        if isinstance(pending.error, OperationalError | InterfaceError):  # the database itself
            raise pending.error
        if not pending.is_stored:  # some row of the company was at fault: whose, each finds out by itself
            _insert_events([event])

    def _commit(self) -> None:
        with self.lock:
            batch, self.waiting = self.waiting, []
        try:
            _insert_events([pending.event for pending in batch])
            for pending in batch:
                pending.is_stored = True
        except Exception as error:
            for pending in batch:
                pending.error = error
        finally:
            with self.lock:
                self.is_committing = bool(self.waiting)
                if self.waiting:
                    self.waiting[0].is_leader = True
                    batch.append(self.waiting[0])
            for pending in batch:
                pending.done.set()


def _insert_events(events: list[WebhookEvent]) -> None:
    if len(events) == 1:
        events[0].save(force_insert=True)  # one statement: it commits by itself
    else:
        WebhookEvent.objects.bulk_create(events)
    wakeups.notify_after_commit(wakeups.INBOUND)


group_committer = GroupCommitter()
