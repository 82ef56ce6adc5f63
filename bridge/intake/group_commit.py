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


class _Turn:
    """A caller's place in the line."""

    def __init__(self, event: WebhookEvent) -> None:
        self.event = event
        self.called = Event()
        self.leads = self.is_stored = False  # who leads commits for all that wait
        self.error: Exception | None = None


class Committer:
    """The line of one process."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: list[_Turn] = []
        self.at_work = False

    def store(self, event: WebhookEvent) -> None:
        """Return when the event is committed and the workers are called. Raises DatabaseError where it is not."""
        turn = _Turn(event)
        with self.lock:
            self.waiting.append(turn)
            turn.leads, self.at_work = not self.at_work, True
        if not turn.leads:
            turn.called.wait()
        if turn.leads:
            self._commit()
        if isinstance(turn.error, OperationalError | InterfaceError):  # the database itself
            raise turn.error
        if not turn.is_stored:  # some row of the company was at fault: whose, each finds out by itself
            _insert([event])

    def _commit(self) -> None:
        with self.lock:
            turns, self.waiting = self.waiting, []
        try:
            _insert([turn.event for turn in turns])
            for turn in turns:
                turn.is_stored = True
        except Exception as error:
            for turn in turns:
                turn.error = error
        finally:
            with self.lock:
                self.at_work = bool(self.waiting)
                if self.waiting:
                    self.waiting[0].leads = True
                    turns.append(self.waiting[0])
            for turn in turns:
                turn.called.set()


def _insert(events: list[WebhookEvent]) -> None:
    if len(events) == 1:
        events[0].save(force_insert=True)  # one statement: it commits by itself
    else:
        WebhookEvent.objects.bulk_create(events)
    wakeups.notify_after_commit(wakeups.INBOUND)


committer = Committer()
