"""Group commit of raw events.

Callers that arrive while a commit is running share the next one: one INSERT, one commit, one wake-up. Each caller
waits until its own row is committed or the write failed. If one row makes the shared INSERT fail, every caller retries
its own row alone.
"""

from __future__ import annotations

from threading import Event, Lock

from django.db import InterfaceError, OperationalError

from bridge import wakeups
from bridge.models import WebhookEvent


class PendingWrite:
    """One caller's event, waiting to be committed."""

    def __init__(self, event: WebhookEvent) -> None:
        self.event = event
        self.done = Event()
        self.is_leader = self.is_stored = False  # the leader commits for all waiting callers
        self.error: Exception | None = None


class GroupCommitter:
    """Group commit of one process."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: list[PendingWrite] = []
        self.is_committing = False

    def store(self, event: WebhookEvent) -> None:
        """Store the event. Returns after the commit and the wake-up. Raises DatabaseError if the write failed."""
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
        if not pending.is_stored:  # one row in the batch was rejected: every caller retries its own
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
        events[0].save(force_insert=True)  # a single statement commits by itself
    else:
        WebhookEvent.objects.bulk_create(events)
    wakeups.notify_after_commit(wakeups.INBOUND)


group_committer = GroupCommitter()
