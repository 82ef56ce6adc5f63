"""Runs of the tasks that look for work. A run waits for the next wake-up instead of ending when nothing is due.

Each worker has one run of a kind at a time (a session lock in PostgreSQL, which a process that dies releases): other
tasks of that kind, for example those that beat starts, end at once. Several workers share the work. A run lasts
RUN_SECONDS, and the next one follows at once. It also ends when the worker shuts down or PostgreSQL closes its
connection. A run that fails is followed by the one that beat starts.
"""

from __future__ import annotations

import os
import select
import selectors
import time
import uuid
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import Error, connection

from channels_setup.advisory_locks import LockSpace, release, try_acquire

from . import wakeups

RUN_SECONDS = 20.0  # with the longest call (20 s), well below the soft time limit of a task
SWEEP_SECONDS = 2.0  # a waiting run looks for work this often without a wake-up: for retries, and for lost wake-ups
RESUBSCRIBE_SECONDS = 1.0  # without a subscription, a waiting run looks for work and subscribes again this often

# Channels that one run serves together if its worker consumes the queues of all of them.
KINDS = ((wakeups.INBOUND,), (wakeups.OUTBOUND, wakeups.EVENTS))


@dataclass
class WorkerProcess:
    """The Celery worker of this process: its queues, its number of places, and a pipe that is closed when it ends.

    `start_id` identifies this start of the worker, so that its runs do not wait for locks of its predecessor:
    PostgreSQL keeps the session of a machine that has crashed for up to two hours.
    """

    queues: frozenset[str] = frozenset()
    places: int = 0
    start_id: str = ""
    shutdown_reader: int | None = None
    shutdown_writer: int | None = None  # open in the parent only: the end of the parent closes it, however it ends

    def prepare(self, *, queues: Collection[str], places: int) -> None:
        """Note what the worker does, and open the pipe. Call this in the parent before it forks."""
        self.queues, self.places, self.start_id = frozenset(queues), places, uuid.uuid4().hex
        self.shutdown_reader, self.shutdown_writer = os.pipe()

    def close_writer(self) -> None:
        """Close the write end: in each child after the fork, and in the parent when the worker shuts down."""
        if self.shutdown_writer is not None:
            os.close(self.shutdown_writer)
            self.shutdown_writer = None

    def get_channels(self, channel: str) -> tuple[str, ...]:
        """Return the channels that one run serves together with this one."""
        kind = next(kind for kind in KINDS if channel in kind)
        served = tuple(each for each in kind if wakeups.QUEUES[each] in self.queues)
        return served if channel in served else (channel,)

    def count_spare_places(self) -> int:
        """Return how many places are left when each run keeps one, and one is kept for the other tasks."""
        if not self.queues:
            return -1  # no Celery worker
        watched = {wakeups.QUEUES[channel]: self.get_channels(channel) for kind in KINDS for channel in kind}
        runs = {channels for queue, channels in watched.items() if queue in self.queues}
        return self.places - len(runs) - bool(self.queues - watched.keys())


worker_process = WorkerProcess()


class WorkerRun:
    """One run. `begin_run` creates it.

    The order never loses a wake-up: `clear`, look for work, and only if nothing is found `wait`.
    """

    def __init__(self, channels: tuple[str, ...], locks: tuple[int, int], *, spare_places: int) -> None:
        self.channels = channels
        self._lock, self._last_calls_lock = locks
        self._held_locks = [self._lock]
        self.may_wait, self._may_overlap = spare_places >= 0, spare_places > 0
        self._until = time.monotonic() + RUN_SECONDS
        self._subscription = wakeups.Subscription(channels)
        self._subscribe_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._is_stopped = self._has_ended = self._has_lost_lock = False
        if worker_process.shutdown_reader is not None:
            self._selector.register(worker_process.shutdown_reader, selectors.EVENT_READ)
        self._subscribe()

    def fileno(self) -> int:
        """Return a descriptor that is readable when a wake-up has arrived or the worker shuts down."""
        return self._selector.fileno()

    def is_over(self) -> bool:
        """Return whether the run must look for no more work. It finishes what it has begun."""
        is_late = time.monotonic() >= self._until
        return is_late or self._is_stopped or self._has_ended or self._has_lost_lock

    def clear(self) -> None:
        """Forget the wake-ups that have arrived. Call this right before each look for work."""
        if self._poll(0):
            watched = self._subscription.socket
            self._subscription.read()
            if self._subscription.socket is None:
                self._selector.unregister(watched)

    def wait(self, seconds: float = SWEEP_SECONDS) -> bool:
        """Wait for a wake-up, for the given time at most. Return whether to look for work again.

        Call this when the last look found nothing and nothing is under way.
        """
        if self.is_over():
            return False
        if not self.may_wait:
            return self._poll(0)
        if self._subscription.socket is None and time.monotonic() >= self._subscribe_at and self._subscribe():
            return True  # for commits before the subscription
        if self._subscription.socket is None:
            seconds = min(seconds, RESUBSCRIBE_SECONDS)
        self._poll(min(seconds, SWEEP_SECONDS, max(self._until - time.monotonic(), 0)))
        self._check_database_connection()
        return not self.is_over()

    def hand_over(self) -> bool:
        """Let the next run begin, if the worker has a place for it. Call this when the run is over and calls are not.

        Otherwise new work would wait for slow calls. One run of a kind at a time ends in this way. Return whether this
        run may make further calls: not if another is ending in this way, or the worker shuts down.
        """
        if not self._has_ended and self._may_overlap:
            with suppress(Error):
                if try_acquire(LockSpace.WORKER_RUNS, self._last_calls_lock):
                    self._held_locks.append(self._last_calls_lock)
                    self.end()
        is_turn = self._has_ended or not self._may_overlap
        return is_turn and not self._is_stopped and not self._has_lost_lock

    def end(self) -> None:
        """Let the next run begin, and enqueue it unless nothing can be waiting for it."""
        if self._has_ended:
            return
        is_needed = self.may_wait or time.monotonic() >= self._until
        # In this order: after the unsubscription, a wake-up enqueues a task, which finds the lock free.
        self._release(self._lock)
        if self._unsubscribe() or is_needed:
            wakeups.enqueue_next_run(self.channels[0])

    def close(self) -> None:
        """Free all resources. After an error the next run is left to beat, so that no busy loop begins."""
        for lock in self._held_locks[:]:
            self._release(lock)
        if not self._has_ended:
            self._unsubscribe()
        self._selector.close()

    def _subscribe(self) -> bool:
        is_open = self._subscription.open()
        self._subscribe_at = time.monotonic() + RESUBSCRIBE_SECONDS
        if is_open:
            self._selector.register(self._subscription.socket, selectors.EVENT_READ)
        return is_open

    def _unsubscribe(self) -> bool:
        """End the subscription. Return whether a wake-up may have arrived since the last `clear`."""
        self._has_ended = True
        if self._subscription.socket is not None:
            self._selector.unregister(self._subscription.socket)
        return self._subscription.close()

    def _poll(self, seconds: float) -> bool:
        """Return whether a wake-up arrives within the time, or the subscription breaks."""
        is_heard = False
        for key, _events in self._selector.select(seconds):
            if key.fileobj == worker_process.shutdown_reader:
                self._is_stopped = True
                self._selector.unregister(key.fileobj)  # it stays readable, and would end every wait for calls
            else:
                is_heard = True
        return is_heard

    def _check_database_connection(self) -> None:
        """End the run if PostgreSQL has closed the connection, and the lock with it."""
        if connection.in_atomic_block:
            return
        raw = connection.connection
        # PostgreSQL sends nothing to an idle session, except its last message.
        if raw is None or raw.closed or select.select([raw], [], [], 0)[0]:
            self._has_lost_lock = True
            connection.close()

    def _release(self, lock: int) -> None:
        self._held_locks.remove(lock)
        if not self._has_lost_lock:
            with suppress(Error):  # the session that held the lock is gone
                release(LockSpace.WORKER_RUNS, lock)


@contextmanager
def begin_run(channel: str, worker: str) -> Iterator[WorkerRun | None]:
    """Yield the run of this worker for the channel, or None if another process of the worker has it."""
    wakeups.clear_notification(channel)
    channels = worker_process.get_channels(channel)
    lock = zlib.crc32(f"{worker} {worker_process.start_id} {channels}".encode()) % 2**30
    if not try_acquire(LockSpace.WORKER_RUNS, lock):
        yield None
        return
    try:
        run = WorkerRun(channels, (lock, lock + 2**30), spare_places=worker_process.count_spare_places())
    except BaseException:  # for example no free descriptor; the session would keep the lock
        release(LockSpace.WORKER_RUNS, lock)
        raise
    try:
        yield run
        run.end()
    finally:
        run.close()
