"""Run functions at the same moment, each with a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

from django.db import connection


def run_together(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions in threads that start together; return their results in order."""
    barrier = Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def run(number: int, function: Callable[[], Any]) -> None:
        connection.ensure_connection()
        barrier.wait(10)
        try:
            results[number] = function()
        finally:
            connection.close()

    threads = [Thread(target=run, args=(number, function)) for number, function in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
