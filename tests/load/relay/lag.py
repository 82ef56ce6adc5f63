"""Time from sending to arrival, at fixed rates, and by stage."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tests.load.results import Report, get_percentile

from .stack import Run, Stack

IDLE_RATE = 5.0
TARGETS = {300.0: ("≤ 20 ms", "≤ 60 ms"), IDLE_RATE: ("≤ 16 ms", "")}


def measure_lag(stack: Stack, report: Report, *, rounds: int, seconds: float, our_rate: float, stages: bool) -> None:
    """Measure at fixed rates in turns, and at half of our own maximum."""
    phone = stack.add_watched_phone()
    stack.relay(phone.webhook_path, 200)  # warm-up
    rates = {IDLE_RATE: "one message on an idle stack", 100.0: "100/s", 300.0: "300/s"}
    if our_rate:
        rates[our_rate / 2] = f"half of our maximum, {our_rate / 2:.0f}/s"
    else:
        report.skip("lag at half of our maximum", "the part `end` was not measured in this run")
    runs: dict[float, list[Run]] = {rate: [] for rate in rates}
    for _turn in range(rounds):
        for rate, done in runs.items():
            done.append(stack.relay(phone.webhook_path, max(int(rate * seconds), 5), rate=rate))
    for rate, name in rates.items():
        _report_lag(report, name, rate, runs[rate])
    if stages:
        _report_stages(report, phone, runs[IDLE_RATE], "idle")
        _report_stages(report, phone, runs[300.0], "300/s")


def _report_lag(report: Report, name: str, rate: float, runs: Sequence[Run]) -> None:
    reached = statistics.median(len(run.lags) / run.sent.seconds for run in runs)
    note = f"the sender reached only {reached:.0f}/s" if reached < rate * 0.97 and rate != IDLE_RATE else ""
    targets = TARGETS.get(rate, ("", ""))
    for share, target in zip((0.5, 0.99), targets, strict=True):
        if share == 0.99 and rate == IDLE_RATE:  # too few messages
            continue
        values = [1000 * get_percentile(run.lags, share) for run in runs]
        report.add(f"lag, {name}: p{share * 100:.0f}", values, "ms", target=target, note=note)
    late = [1000 * get_percentile([late for _sent, _answered, late in run.sent.requests], 0.99) for run in runs]
    report.add(f"lag, {name}: sender late, p99", late, "ms", digits=1)
    cpu = [100 * sum(run.costs.cpu.values()) / run.costs.seconds for run in runs]
    report.add(f"lag, {name}: CPU in use (200 % are both cores)", cpu, "%")


def _report_stages(report: Report, phone: Any, runs: Sequence[Run], name: str) -> None:
    """Report the median time of each stage. The database has the time of the message and of the call."""
    medians: dict[str, list[float]] = {"sent → answered": [], "sent → message": [], "message → call": []}
    medians["call → arrived"] = []
    for run in runs:
        known = _read_times(phone, since=run.sent.began)
        each = [
            (known[stamp][0] - sent, known[stamp][1] - known[stamp][0], arrived - known[stamp][1])
            for arrived, sent in run.arrivals
            if (stamp := f"{sent:017.6f}") in known
        ]
        if len(each) < len(run.arrivals) * 0.9:
            report.skip(f"stages, {name}", f"only {len(each)} of {len(run.arrivals)} messages were found again")
            return
        columns = [run.sent.took(), *map(list, zip(*each, strict=True))]
        for values, stage in zip(columns, medians.values(), strict=True):
            stage.append(1000 * statistics.median(values))
    for stage, values in medians.items():
        report.add(f"stages, {name}: {stage}, p50", values, "ms", digits=1)


def _read_times(phone: Any, *, since: float) -> dict[str, tuple[float, float]]:
    """Return the stamp in each text → (message built, call begun)."""
    from datetime import UTC, datetime

    from bridge.models import Attempt

    attempts = Attempt.objects.filter(
        delivery__message__api_channel=phone, delivery__message__created_at__gte=datetime.fromtimestamp(since, UTC)
    )
    found = attempts.values_list("delivery__message__text", "delivery__message__created_at", "started_at")
    # Each text begins with "sent=" and the 17 characters of the time of sending.
    return {text[5:22]: (created.timestamp(), begun.timestamp()) for text, created, begun in found}
