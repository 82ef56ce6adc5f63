"""Group commit of raw events.

Callers that arrive while a commit is running share the next one: one INSERT, one commit, one wake-up. Each caller
waits until its own row is committed or the write failed. If one row makes the shared INSERT fail, every caller retries
its own row alone.
"""

from __future__ import annotations

import json
import time
from threading import Event, Lock
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, connection

from bridge import wakeups
from bridge.metrics import recording
from bridge.models import WebhookEvent

NOTIFY_SECONDS = 0.02  # between wake-ups while commits follow each other: they took a sixth of the web's CPU time
MAX_BYTES_WITHOUT_SLOT = 64 * 1024  # hundreds of such bodies may wait in memory; larger ones only as many as slots


class Slots(Protocol):
    """Database connections of a web process, fewer than its requests."""

    def take(self) -> None: ...
    def release(self) -> None: ...
    def attach(self, slot: Any) -> None: ...
    def detach(self) -> Any | None: ...


class PendingWrite:
    """One caller's event, waiting to be committed."""

    def __init__(self, event: WebhookEvent) -> None:
        self.event = event
        self.done = Event()
        self.is_leader = self.is_stored = False  # the leader commits for all waiting callers
        self.must_notify = False  # for its own commit and those before it
        self.has_slot = True
        self.slot: Any | None = None  # the former leader's, to be attached
        self.error: Exception | None = None


class GroupCommitter:
    """Group commit of one process.

    ``slots`` is set by the web server. A caller that waits for another one's commit gives its slot up, so that more
    callers can wait and share the next commit. The next leader gets the slot of the former one.
    """

    def __init__(self, slots: Slots | None = None) -> None:
        self.slots = slots
        self.lock = Lock()
        self.waiting: list[PendingWrite] = []
        self.is_committing = False
        self.owes_wakeup = False  # a leader left the wake-up to the next one
        self.notify_at = 0.0  # monotonic seconds: from then on, a leader notifies even if another one follows

    def store(self, event: WebhookEvent, *, is_last_query: bool = False) -> None:
        """Store the event and wake the workers, unless the next leader does. Returns after the commit.

        Raises DatabaseError if the write failed.

        ``is_last_query``: the caller uses the database no more, so it needs no slot afterwards.
        """
        pending = PendingWrite(event)
        with self.lock:
            self.waiting.append(pending)
            pending.is_leader, self.is_committing = not self.is_committing, True
            if not pending.is_leader and len(event.body) <= MAX_BYTES_WITHOUT_SLOT:
                self._give_up_slot(pending)
        if not pending.is_leader:
            pending.done.wait()
        if pending.is_leader:
            self._commit(pending)
        if pending.must_notify:
            wakeups.notify_workers(wakeups.INBOUND)  # here, where the next commit does not wait for it
        if self.slots and not pending.has_slot and not (is_last_query and pending.is_stored):
            self.slots.take()
        if isinstance(pending.error, OperationalError | InterfaceError):  # the database itself
            raise pending.error
        if not pending.is_stored:  # one row in the batch was rejected: every caller retries its own
            _insert_events([event])
            wakeups.notify_workers(wakeups.INBOUND)

    def _give_up_slot(self, pending: PendingWrite) -> None:
        if self.slots:
            self.slots.release()
            pending.has_slot = False

    def _commit(self, leader: PendingWrite) -> None:
        if self.slots and leader.slot:
            self.slots.attach(leader.slot)
            leader.has_slot, leader.slot = True, None
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
                self._plan_notification(leader)
                if self.waiting:
                    self._appoint(self.waiting[0], former=leader)
                    batch.append(self.waiting[0])
            for pending in batch:
                pending.done.set()

    def _plan_notification(self, leader: PendingWrite) -> None:
        """Let the leader notify the workers, or leave it to the next one, even if that one's commit fails."""
        self.owes_wakeup |= leader.is_stored
        now = time.monotonic()
        if self.owes_wakeup and (not self.waiting or now >= self.notify_at):
            leader.must_notify, self.owes_wakeup, self.notify_at = True, False, now + NOTIFY_SECONDS

    def _appoint(self, leader: PendingWrite, *, former: PendingWrite) -> None:
        leader.is_leader = True
        if self.slots and not leader.has_slot:
            leader.slot, former.has_slot = self.slots.detach(), False


# One statement, which commits by itself. The columns of the events come as arrays, as in ``row_inserts``. That module
# cannot insert `contact_ids`, which is itself an array.
INSERT_SQL = """
INSERT INTO bridge_webhookevent (api_channel_id, chat_channel_id, endpoint, method, query_string, content_type, headers,
    body, proof, received_at, state, attempts, error, traceback, note)
SELECT e.*, 'new', 0, '', '', '' FROM unnest(
    %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[],
    %s::bytea[], %s::bytea[], %s::timestamptz[]) AS e
"""


def _insert_events(events: list[WebhookEvent]) -> None:
    """Insert events.

    Django would test the connection with a query of its own before each request. Here a connection that broke since the
    last request is opened again after the INSERT failed.
    """
    rows = [
        (
            *(event.api_channel_id, event.chat_channel_id, event.endpoint, event.method, event.query_string),
            *(event.content_type, json.dumps(event.headers), event.body, event.proof, event.received_at),
        )
        for event in events
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    connection.health_check_done = True  # type: ignore[attr-defined]  # django-stubs lacks it
    try:
        _execute_insert(columns)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
        _execute_insert(columns)
    recording.count_stored_events(events)


def _execute_insert(columns: list[list[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, columns)


group_committer = GroupCommitter()
