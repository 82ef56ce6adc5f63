"""Inbox and sending as one process of a worker does them: called as functions here, while no worker runs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.load.results import Report

from .stack import Stack

BATCHES = (200, 20, 1)


def measure_one_process(stack: Stack, report: Report, *, rounds: int, size: int, list_statements: bool) -> None:
    """Measure events → messages with deliveries, then deliveries → calls. The clock starts before any work is done."""
    from django.db import connection

    from bridge.inbox.processing import process_inbox
    from bridge.outbox.dispatcher import send_due_deliveries
    from channels_setup import prepared_statements
    from config import shared_memory

    phone = stack.add_watched_phone()
    stack.post(phone.webhook_path, count=200)
    process_inbox(), send_due_deliveries()  # warm-up
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    steps: dict[str, tuple[Callable[[], int], list[float], list[float]]] = {
        "inbox with deliveries": (process_inbox, [], []),
        "sending": (send_due_deliveries, [], []),
    }
    for batch in BATCHES:
        stack.post(phone.webhook_path, count=1)
        process_inbox(), send_due_deliveries()  # reads the settings that are remembered for two seconds
        stack.post(phone.webhook_path, count=batch)
        for name, (work, _rates, _cpu) in steps.items():
            with _count_statements() as statements:
                assert work() == batch
            report.add(f"{name}: statements, {batch} at once", [sum(count for count, _ms in statements.values())])
            if list_statements:
                report.details += _list_statements(f"{name}, {batch} at once", statements)
    shared_memory.freeze_loaded_objects()  # this and the next line as each worker does
    prepared_statements.enable()
    for _turn in range(rounds):
        stack.post(phone.webhook_path, count=size)
        for work, rates, cpu in steps.values():
            before, started = time.process_time(), time.perf_counter()
            done = work()
            rates.append(size / (time.perf_counter() - started))
            cpu.append(1000 * (time.process_time() - before) / size)
            assert done == size, f"{done} of {size} were processed"
    targets = {"inbox with deliveries": "≥ 2,000/s"}
    for name, (_work, rates, cpu) in steps.items():
        report.add(f"{name}, one process", rates, "/s", target=targets.get(name, ""))
        report.add(f"{name}, one process: its own CPU per message", cpu, "ms", digits=3)


@contextmanager
def _count_statements() -> Iterator[dict[str, tuple[int, float]]]:
    """Yield statement → (count, milliseconds), without those that begin and end transactions."""
    from django.db import connection

    counts: Counter[str] = Counter()
    times: Counter[str] = Counter()
    result: dict[str, tuple[int, float]] = {}

    def record(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            short = re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", str(sql))).strip()
            counts[short] += 1
            times[short] += 1000 * (time.perf_counter() - started)  # type: ignore[assignment]

    with connection.execute_wrapper(record):
        yield result
    result |= {sql: (count, times[sql]) for sql, count in counts.items()}


def _list_statements(name: str, statements: dict[str, tuple[int, float]]) -> list[str]:
    lines = [f"\nStatements, {name}:\n", "| count | ms | statement |", "|---|---|---|"]
    for sql, (count, ms) in sorted(statements.items(), key=lambda item: -item[1][1]):
        lines.append(f"| {count} | {ms:.2f} | `{sql[:150].replace('|', '¦')}` |")
    return lines
