"""What /metrics shows: the counts of all processes, and the gauges."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import redis
from django.db import Error, connection, transaction
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from bridge.metrics import catalog, flushing
from bridge.metrics.counters import CATALOG, MICROSECONDS, SUM, Histogram, Key, Labels, Metric
from channels_setup.models import AlertRoute, ApiChannel
from config.celery import SCHEDULE

from . import gauges

logger = logging.getLogger(__name__)

GROUP_TIMEOUT_MS = 3_000


class PortalCollector(Collector):
    """All metrics of the portal. What cannot be read is left out, and a metric ending in ``_up`` is 0."""

    def collect(self) -> Iterator[MetricFamily]:
        started = time.monotonic()
        yield from gauges.measure_machine()
        groups: dict[str, float] = {}
        for name in gauges.GROUPS:
            families = _measure_group(name)
            groups[name] = families is not None
            yield from families or ()
        yield gauges.build_family("okno_scrape_group_up", "1 if this group of gauges could be read.", "group", groups)
        # Before the channels: counts of a channel that is created meanwhile must not be forgotten.
        counts = _read_counts()
        channels = _list_channels() if any(groups.values()) else None
        yield GaugeMetricFamily("okno_database_up", "1 if the database answers.", value=channels is not None)
        yield GaugeMetricFamily("okno_broker_up", "1 if Redis answers.", value=counts is not None)
        if counts is not None:
            yield from build_families(counts, channels)
        seconds = time.monotonic() - started
        yield GaugeMetricFamily("okno_scrape_duration_seconds", "Duration of this scrape.", value=seconds)


def _measure_group(name: str) -> list[GaugeMetricFamily] | None:
    """Return the gauges of a group, or None if they cannot be read in time."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {GROUP_TIMEOUT_MS}")
            families = list(gauges.GROUPS[name]())
            with connection.cursor() as cursor:  # a test's transaction goes on
                cursor.execute("SET LOCAL statement_timeout = DEFAULT")
            return families
    except Error as error:
        logger.warning("metrics not read", extra={"group": name, "error": type(error).__name__})
        return None


def _read_counts() -> dict[Key, int] | None:
    try:
        return flushing.read_counts()
    except redis.RedisError as error:
        logger.warning("counters not read", extra={"error": type(error).__name__})
        return None


def _list_channels() -> list[str] | None:
    """Return the values of the label ``channel``, or None without a database."""
    try:
        names = [catalog.name_api_channel(pk) for pk in ApiChannel.objects.order_by("pk").values_list("pk", flat=True)]
        names += [catalog.name_chat_channel(channel.pk) for channel in gauges.list_chat_channels()]
        return names + [catalog.name_alert_route(pk) for pk in AlertRoute.objects.values_list("pk", flat=True)]
    except Error:
        return None


def build_families(counts: Mapping[Key, int], channels: Sequence[str] | None) -> Iterator[MetricFamily]:
    """Yield the counters and histograms with all series that are known, also those that are zero.

    Without a database, the channels are those that have counts. With it, counts of deleted channels are forgotten.
    """
    by_metric: dict[str, dict[Labels, dict[str, int]]] = {name: {} for name in CATALOG}
    forgotten, existing = [], set(channels or ())
    for (name, labels, part), number in counts.items():
        metric = CATALOG.get(name)
        if metric is None or len(labels) != len(metric.labels):
            continue  # of another release
        channel = dict(zip(metric.labels, labels, strict=True)).get("channel")
        if channel is not None and channels is not None and channel not in existing:
            forgotten.append((name, labels, part))
            continue
        by_metric[name].setdefault(labels, {})[part] = number
    for name, metric in CATALOG.items():
        series: dict[Labels, dict[str, int]] = {labels: {} for labels in list_known_series(metric, channels or ())}
        series |= by_metric[name]
        yield _build_histogram(metric, series) if isinstance(metric, Histogram) else _build_counter(metric, series)
    with suppress(redis.RedisError):
        flushing.forget_counts(forgotten)


def list_known_series(metric: Metric, channels: Iterable[str]) -> Iterator[Labels]:
    """Yield the label values of all series that a metric has from the start."""
    known: dict[str, Iterable[str]] = {"channel": channels, "task": SCHEDULE, **metric.known_values}
    if not all(label in known for label in metric.labels):
        return
    for values in itertools.product(*(known[label] for label in metric.labels)):
        labels = dict(zip(metric.labels, values, strict=True))
        if catalog.can_exist(metric, labels):
            yield values


def _build_counter(metric: Metric, series: Mapping[Labels, Mapping[str, int]]) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, parts in sorted(series.items()):
        family.add_metric(labels, parts.get("", 0))
    return family


def _build_histogram(metric: Histogram, series: Mapping[Labels, Mapping[str, int]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(str, map(float, metric.buckets)), "+Inf"]
    for labels, parts in sorted(series.items()):
        counts = itertools.accumulate(parts.get(str(number), 0) for number in range(len(bounds)))
        buckets = list(zip(bounds, counts, strict=True))
        family.add_metric(labels, buckets=buckets, sum_value=parts.get(SUM, 0) / MICROSECONDS)
    return family
