"""Wake-ups: notify the Celery workers after a commit.

A wake-up is only a hint. PostgreSQL holds the work, and beat finds rows whose wake-up was lost.
A wake-up is published in Redis, and a waiting run of a task (`worker_runs`) hears it. If no run listens, a task is
enqueued. Commits in quick succession then share one task: a Redis key records that the workers were notified, and the
task deletes the key. After a broker error, wake-ups pause for a few seconds, so that webhooks stay fast.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import redis
from celery import current_app
from django.db import transaction

from .optional_redis import OptionalRedis

logger = logging.getLogger(__name__)

INBOUND, OUTBOUND, EVENTS, FILES, ALERTS = "inbound", "outbound", "events", "files", "alerts"
TASKS = {
    INBOUND: "bridge.tasks.process_inbox",
    OUTBOUND: "bridge.tasks.send_due_deliveries",
    EVENTS: "bridge.tasks.send_due_events",
    FILES: "bridge.tasks.download_files",
    ALERTS: "bridge.tasks.route_alerts",
}
QUEUES = {INBOUND: "inbound", OUTBOUND: "outbound", EVENTS: "events", FILES: "housekeeping", ALERTS: "housekeeping"}
HEARD = (INBOUND, OUTBOUND, EVENTS)  # channels that runs listen to

NOTIFICATION_TTL_MS = 2_000  # a lost wake-up blocks new ones this long; beat runs as often
NEXT_RUN_EXPIRES = 30  # seconds; beat starts a run meanwhile

broker = OptionalRedis(timeout=0.5)


def notify_after_commit(channel: str) -> None:
    """Notify the workers when the current transaction commits; at once outside a transaction."""
    transaction.on_commit(lambda: notify_workers(channel), robust=True)


def notify_workers(channel: str) -> None:
    """Notify the workers unless they were notified a moment ago. Never raises; waits 0.5 s at most."""
    if broker.is_paused:
        return
    try:
        if channel in HEARD and broker.client.publish(_get_topic(channel), "1"):
            return
        if broker.client.set(_key(channel), 1, nx=True, px=NOTIFICATION_TTL_MS):
            _send_task(channel)
    except Exception as error:  # the row is committed: beat will find it
        broker.pause()
        logger.warning("workers not notified", extra={"channel": channel, "error": type(error).__name__})


def enqueue_next_run(channel: str) -> None:
    """Enqueue the run that follows one which has ended. Never raises: beat enqueues one too.

    The ping finds a broker that hangs in half a second. Celery would wait for 10, and calls may still be under way.
    """
    try:
        _ping()
        _send_task(channel, expires=NEXT_RUN_EXPIRES)
    except Exception as error:
        broker.pause()
        logger.warning("next run not enqueued", extra={"channel": channel, "error": type(error).__name__})


def _ping() -> None:
    """Raise an error unless the broker responds. A restart of the broker has broken the kept connection: try twice."""
    try:
        broker.client.ping()
    except redis.ConnectionError:
        broker.client.ping()


def _send_task(channel: str, **options: Any) -> None:
    """Enqueue the task of a channel. The one retry is for a kept connection that a restart of the broker broke."""
    once = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    current_app.send_task(
        TASKS[channel], queue=QUEUES[channel], retry=True, retry_policy=once, ignore_result=True, **options
    )


def enqueue_after_commit(task: str, *arguments: int) -> None:
    """Enqueue a best-effort task after commit. Failures are logged, not raised."""
    transaction.on_commit(lambda: _enqueue(task, arguments), robust=True)


def _enqueue(task: str, arguments: tuple[int, ...]) -> None:
    if broker.is_paused:
        return
    try:
        current_app.send_task(f"bridge.tasks.{task}", arguments, retry=False, ignore_result=True)
    except Exception as error:
        broker.pause()
        logger.warning("task not enqueued", extra={"task": task, "error": type(error).__name__})


def clear_notification(channel: str) -> None:
    """Let the next commit enqueue a task again. Call this before looking for work."""
    try:
        broker.client.delete(_key(channel))
    except redis.RedisError as error:
        logger.warning("notification not cleared", extra={"channel": channel, "error": type(error).__name__})


def _key(channel: str) -> str:
    return f"okno:wakeup:{channel}"


def _get_topic(channel: str) -> str:
    """Return the name under which wake-ups are published. Topics are common to all databases of a Redis server."""
    return f"okno:{broker.client.connection_pool.connection_kwargs.get('db', 0)}:wakeup:{channel}"


class Subscription:
    """Subscription to the wake-ups of channels, on a connection of its own. Its socket can be watched by a selector.

    The content of a wake-up does not matter, so arrived bytes are discarded without parsing.
    """

    def __init__(self, channels: Iterable[str]) -> None:
        self._topics = [_get_topic(channel) for channel in channels]
        self._connection: Any = None
        self.socket: Any = None  # None: not subscribed

    def open(self) -> bool:
        """Subscribe. Return whether wake-ups published from now on are heard. Waits for a second at most."""
        pool = broker.client.connection_pool
        try:
            self._connection = pool.connection_class(**pool.connection_kwargs)
            self._connection.connect()
            self.socket = self._connection._sock
            self._converse("SUBSCRIBE", b"$9\r\nsubscribe\r\n")
            self.socket.setblocking(False)
        except (redis.RedisError, OSError) as error:
            logger.warning("no subscription to wake-ups", extra={"error": type(error).__name__})
            self._disconnect()
        return self.socket is not None

    def read(self) -> None:
        """Discard the wake-ups that have arrived. A broken connection ends the subscription."""
        while self.socket is not None:
            try:
                if not self.socket.recv(65_536):
                    self._disconnect()
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                self._disconnect()

    def close(self) -> bool:
        """Unsubscribe. Return whether a wake-up may have arrived since the last `read`.

        Without a subscription, return False: wake-ups then enqueue tasks. With True, a run that may not wait would
        enqueue the next one at once, and so on for as long as the broker refuses subscriptions.
        """
        if self.socket is None:
            return False
        try:
            self.socket.setblocking(True)
            return b"$7\r\nmessage\r\n" in self._converse("UNSUBSCRIBE", b"$11\r\nunsubscribe\r\n")
        except (redis.RedisError, OSError):
            return True
        finally:
            self._disconnect()

    def _converse(self, command: str, confirmation: bytes) -> bytes:
        """Send a command. Return what arrives up to its last confirmation."""
        deadline, received = time.monotonic() + broker.timeout, b""
        self._connection.send_command(command, *self._topics, check_health=False)
        while received.count(confirmation) < len(self._topics):
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self.socket.recv(65_536)
            received += data
            if not data or received.startswith(b"-"):  # the connection is closed, or the command is refused
                raise redis.ConnectionError(received[:80].decode(errors="replace"))
        return received

    def _disconnect(self) -> None:
        connection, self._connection, self.socket = self._connection, None, None
        if connection is not None:
            with suppress(redis.RedisError, OSError):
                connection.disconnect()
