"""Races of two database sessions: one waits for the locks of the other. For transactional tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, transaction

IS_ANYBODY_WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def run_blocked(
    work: Callable[[], Any], *, hold: Callable[[], Any], then: Callable[[], Any] = lambda: None
) -> Future[Any]:
    """Run ``work`` in another session while a transaction of this one has locks that it needs. Return its result.

    ``hold`` takes the locks; ``then`` goes on in the same transaction when ``work`` waits.
    """
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            hold()
            future = pool.submit(_run_and_close, work)
            _wait_for_waiting_session()
            then()
        future.exception(30)
    return future


def run_in_other_session(work: Callable[[], Any]) -> Any:
    """Run ``work`` in another session, and return its result. It sees only what is committed."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_run_and_close, work).result(30)


def _run_and_close(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()


def _wait_for_waiting_session() -> None:
    with connection.cursor() as cursor:
        for _try in range(200):
            cursor.execute(IS_ANYBODY_WAITING)
            if cursor.fetchone():
                return
            time.sleep(0.05)
    raise AssertionError("nobody waits")
