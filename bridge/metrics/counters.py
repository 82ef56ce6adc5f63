"""Counters and histograms of this process. Counting takes less than a microsecond and touches neither Redis nor files.

`flushing` adds the counts of all processes up in Redis.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

Labels = tuple[str, ...]
# Name of the metric, values of its labels, and for a histogram the number of the bucket or SUM.
Key = tuple[str, Labels, str]

SUM = "sum"
MICROSECONDS = 1_000_000  # sums are kept as whole microseconds, so that Redis adds them up without rounding
FAST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


class PendingCounts:
    """What this process has counted since its last flush. Thread-safe. A forked child starts from zero."""

    def __init__(self) -> None:
        self.on_first_count: Callable[[], None] = lambda: None  # BridgeConfig lets `flushing` start its thread
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the parent flushes its own counts

    def _reset(self) -> None:
        self.lock = threading.Lock()
        # By metric and labels: one number for a counter; for a histogram its buckets and its sum.
        self.series: dict[tuple[str, Labels], list[int]] = {}
        self.has_started = False

    def start(self) -> None:
        """Start the thread that flushes, once in each process."""
        with self.lock:
            is_first, self.has_started = not self.has_started, True
        if is_first:
            try:
                self.on_first_count()
            except RuntimeError:  # the process gets no more threads; the next count tries again
                self.has_started = False

    def take(self) -> dict[Key, int]:
        """Return the counts and start again from zero."""
        with self.lock:
            series, self.series = self.series, {}
        counts = {}
        for (name, labels), numbers in series.items():
            for part, number in zip(CATALOG[name].parts, numbers, strict=True):
                if number:
                    counts[name, labels, part] = number
        return counts


pending = PendingCounts()
CATALOG: dict[str, Metric] = {}


class Metric:
    """A metric with its labels. `known_values`: label values whose series exist from the start, as zero.

    A label named ``channel`` has the values of all channels, which the export reads from the database.
    """

    parts: tuple[str, ...] = ("",)  # of each series, as in Key

    def __init__(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        known_values: Mapping[str, Iterable[object]] = MappingProxyType({}),
    ) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        self.known_values = {label: tuple(str(value) for value in values) for label, values in known_values.items()}
        CATALOG[name] = self


class Counter(Metric):
    def count(self, *labels: str, number: int = 1) -> None:
        """Add to the counter."""
        key = (self.name, labels)
        with pending.lock:
            numbers = pending.series.get(key)
            if numbers is None:
                pending.series[key] = [number]
            else:
                numbers[0] += number
        if not pending.has_started:
            pending.start()


class Histogram(Metric):
    def __init__(self, *arguments: Any, buckets: Sequence[float], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.buckets = tuple(buckets)
        self.parts = (*(str(number) for number in range(len(buckets) + 1)), SUM)  # the last bucket: above all bounds

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration. A negative one, of two clocks that differ, counts as zero."""
        if seconds < 0:
            seconds = 0.0
        key, bucket = (self.name, labels), bisect_left(self.buckets, seconds)
        with pending.lock:
            numbers = pending.series.get(key)
            if numbers is None:
                numbers = pending.series[key] = [0] * len(self.parts)
            numbers[bucket] += 1
            numbers[-1] += int(seconds * MICROSECONDS)
        if not pending.has_started:
            pending.start()
