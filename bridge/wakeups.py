"""Wakes the workers after a commit. Only a doorbell: PostgreSQL is the truth, and beat sweeps what was not heard.

Many commits in a moment ring once: a key in Redis says that somebody has already been called, and the called
task takes the key away before it looks for the last time.
A broker in trouble is left alone for a few seconds, so that it costs a webhook nothing.
"""

from __future__ import annotations

import logging
import time
from functools import cache

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

INBOUND, OUTBOUND, FILES, HELPDESK = "inbound", "outbound", "files", "helpdesk"
TASKS = {
    INBOUND: "bridge.tasks.drain_inbox",
    OUTBOUND: "bridge.tasks.drain_outbox",
    FILES: "bridge.tasks.fetch_files",
    HELPDESK: "bridge.tasks.drain_helpdesk",
}
QUEUES = {INBOUND: "inbound", OUTBOUND: "outbound", FILES: "housekeeping", HELPDESK: "outbound"}

NOTIFICATION_TTL_MS = 2_000  # a lost call is forgotten after this; beat sweeps as often
QUIET_SECONDS = 5.0  # how long a broker in trouble is left alone

_quiet_until = 0.0


def notify_after_commit(channel: str) -> None:
    """Ring when the current transaction commits; at once outside of one."""
    transaction.on_commit(lambda: notify_workers(channel), robust=True)


def notify_workers(channel: str) -> None:
    """Call the workers unless they were called a moment ago. Never raises, never waits long."""
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        if _redis().set(_key(channel), 1, nx=True, px=NOTIFICATION_TTL_MS):
            current_app.send_task(TASKS[channel], queue=QUEUES[channel], retry=False, ignore_result=True)
    except Exception as error:  # whatever the broker does, the row is committed and beat will find it
        _quiet_until = time.monotonic() + QUIET_SECONDS
        logger.warning("workers not notified", extra={"channel": channel, "error": type(error).__name__})


def enqueue_after_commit(task: str, *arguments: int) -> None:
    """Have something small done that may as well be lost: no row waits for it. Never raises."""
    transaction.on_commit(lambda: _enqueue(task, arguments), robust=True)


def _enqueue(task: str, arguments: tuple[int, ...]) -> None:
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        current_app.send_task(f"bridge.tasks.{task}", arguments, retry=False, ignore_result=True)
    except Exception as error:
        _quiet_until = time.monotonic() + QUIET_SECONDS
        logger.warning("task not enqueued", extra={"task": task, "error": type(error).__name__})


def clear_notification(channel: str) -> None:
    """The called task is about to look: from now on a new commit must ring again."""
    try:
        _redis().delete(_key(channel))
    except redis.RedisError as error:
        logger.warning("notification not cleared", extra={"channel": channel, "error": type(error).__name__})


def _key(channel: str) -> str:
    return f"okno:wakeup:{channel}"


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5)
