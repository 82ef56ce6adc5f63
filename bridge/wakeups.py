"""Wake-ups: notify the Celery workers after a commit.

A wake-up is only a hint. PostgreSQL holds the work, and beat finds rows whose wake-up was lost.
Commits in quick succession share one wake-up: a Redis key records that the workers were notified, and the task
deletes the key before its last look for work. After a broker error, wake-ups pause for a few seconds, so that webhooks
stay fast.
"""

from __future__ import annotations

import logging

import redis
from celery import current_app
from django.db import transaction

from .optional_redis import OptionalRedis

logger = logging.getLogger(__name__)

INBOUND, OUTBOUND, FILES, HELPDESK = "inbound", "outbound", "files", "helpdesk"
TASKS = {
    INBOUND: "bridge.tasks.process_inbox",
    OUTBOUND: "bridge.tasks.send_due_deliveries",
    FILES: "bridge.tasks.download_files",
    HELPDESK: "bridge.tasks.send_helpdesk_commands",
}
QUEUES = {INBOUND: "inbound", OUTBOUND: "outbound", FILES: "housekeeping", HELPDESK: "outbound"}

NOTIFICATION_TTL_MS = 2_000  # a lost wake-up blocks new ones this long; beat runs as often

broker = OptionalRedis(timeout=0.5)


def notify_after_commit(channel: str) -> None:
    """Notify the workers when the current transaction commits; at once outside a transaction."""
    transaction.on_commit(lambda: notify_workers(channel), robust=True)


def notify_workers(channel: str) -> None:
    """Notify the workers unless they were notified a moment ago. Never raises; waits 0.5 s at most."""
    if broker.is_paused:
        return
    try:
        if broker.client.set(_key(channel), 1, nx=True, px=NOTIFICATION_TTL_MS):
            current_app.send_task(TASKS[channel], queue=QUEUES[channel], retry=False, ignore_result=True)
    except Exception as error:  # the row is committed: beat will find it
        broker.pause()
        logger.warning("workers not notified", extra={"channel": channel, "error": type(error).__name__})


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
    """Let the next commit notify the workers again. Call this right before looking for work."""
    try:
        broker.client.delete(_key(channel))
    except redis.RedisError as error:
        logger.warning("notification not cleared", extra={"channel": channel, "error": type(error).__name__})


def _key(channel: str) -> str:
    return f"okno:wakeup:{channel}"
