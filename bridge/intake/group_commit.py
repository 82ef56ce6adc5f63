"""Group commit of raw events.

Callers that arrive while a commit is running share the next one: one INSERT, one commit, one wake-up. Each caller
waits until its own row is committed or the write failed. If one row makes the shared INSERT fail, every caller retries
its own row alone.
"""

from __future__ import annotations

import json
from threading import Event, Lock
from typing import Any

from django.db import InterfaceError, OperationalError, connection

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
    """Insert events and notify the workers.

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
    wakeups.notify_after_commit(wakeups.INBOUND)


def _execute_insert(columns: list[list[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, columns)


group_committer = GroupCommitter()
