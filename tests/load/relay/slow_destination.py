"""A destination that takes 50 ms for each call: its rate, and the lag of its neighbors."""

from __future__ import annotations

import threading
from typing import Any

from tests.load.results import Report, divide_rounds, get_percentile
from tests.load.wire import PostReceiver, Sent
from tests.processes import eventually

from .stack import Run, Stack, add_channel

NEIGHBOR_RATE = 100.0
SLOW_RATE = 200.0


def measure_slow_destination(stack: Stack, report: Report, *, rounds: int, size: int, seconds: float) -> None:
    rates = [_drain(stack, size) for _turn in range(rounds + 1)][1:]  # the first round is a warm-up
    report.add("a destination that takes 50 ms", rates, "/s", target="≥ 1,500/s")
    _measure_neighbors(stack, report, rounds=rounds, seconds=seconds)


def _drain(stack: Stack, size: int) -> float:
    """Return the arrivals per second in the middle of a queue, while all calls that may run at once do.

    The deliveries are stored before the worker begins: at the rate at which they come in, no destination has a queue.
    """
    path = stack.add_watched_phone("/slow").webhook_path
    times = sorted(arrived for arrived, _sent in stack.relay(path, size, stored_first=True).arrivals)
    first, last = int(len(times) * 0.1), int(len(times) * 0.9)
    return (last - first) / (times[last] - times[first])


def _measure_neighbors(stack: Stack, report: Report, *, rounds: int, seconds: float) -> None:
    """Compare a channel's lag alone, during traffic to a fast destination, and during as much to a slow one."""
    other = PostReceiver()
    try:
        neighbor = stack.add_watched_phone()
        loaded = {}
        for path in ("/hook", "/slow"):
            loaded[path] = add_channel("sandbox")
            add_channel("acebot", other.url(path), watches=loaded[path])
        p95: dict[str, list[float]] = {"alone": [], "/hook": [], "/slow": []}
        stack.relay(neighbor.webhook_path, 100)  # warm-up
        for _turn in range(rounds):
            for name, values in p95.items():
                run = _relay_during_traffic(stack, neighbor, loaded.get(name), other, seconds)
                values.append(1000 * get_percentile(run.lags, 0.95))
    finally:
        other.stop()
    name = f"neighbor at {NEIGHBOR_RATE:.0f}/s, p95"
    report.add(f"{name}: alone", p95["alone"], "ms")
    report.add(f"{name}: during {SLOW_RATE:.0f}/s to a fast destination", p95["/hook"], "ms")
    report.add(f"{name}: during {SLOW_RATE:.0f}/s to one that takes 50 ms", p95["/slow"], "ms")
    report.add(f"{name}: slow / fast", divide_rounds(p95["/slow"], p95["/hook"]), "×", digits=2)
    report.add(f"{name}: slow / alone", divide_rounds(p95["/slow"], p95["alone"]), "×", target="≤ 1.2", digits=2)


def _relay_during_traffic(stack: Stack, neighbor: Any, loaded: Any, other: PostReceiver, seconds: float) -> Run:
    """Measure the neighbor while the other channel's messages go to another receiver."""
    count = int(SLOW_RATE * seconds)
    sent: list[Sent] = []
    sender = threading.Thread(
        target=lambda: sent.append(stack.post(loaded.webhook_path, count=count, rate=SLOW_RATE)), daemon=True
    )
    other.pop_arrivals()
    if loaded is not None:
        sender.start()
    run = stack.relay(neighbor.webhook_path, int(NEIGHBOR_RATE * seconds), rate=NEIGHBOR_RATE)
    if loaded is not None:
        sender.join(60)
        assert sent, "the sender to the other channel failed"
        eventually(lambda: other.count() >= count, seconds=60)
    return run
