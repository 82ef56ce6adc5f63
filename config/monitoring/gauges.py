"""Gauges, read from the database at each scrape, so they cover all processes and need no memory.

A scrape never counts the whole history: each query uses a partial index on unfinished or failed rows and stops at
COUNT_LIMIT. Each group has a time limit, and a group that fails leaves the others in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily

from bridge import service_window
from bridge.channel_health import alerts
from bridge.files import storage_limits
from bridge.maintenance import backup_status, housekeeping
from bridge.maintenance.portal_checks import MAX_HEARTBEAT_AGE
from bridge.metrics import catalog
from bridge.models import Delivery, Mismatch, WebhookEvent
from bridge.outbox import dispatcher
from channels_setup.models import AlertRoute, ApiChannel, ChannelState, ChatChannel
from config.version import VERSION

COUNT_LIMIT = 100_000  # a count of this value means "at least"
ARCHIVED = "archived"  # in addition to the states of ChannelState

Gauges = Iterator[GaugeMetricFamily]

# For each destination: unfinished deliveries of a kind, and the time of the oldest one that may be attempted now. One
# index lookup per destination and kind, in the words of the indexes `deliveries_next_…`.
QUEUES_SQL = """
SELECT c.id, k.kind,
    (SELECT count(*) FROM (SELECT FROM bridge_delivery d WHERE {queue} AND d.kind = k.kind LIMIT {limit}) q),
    (SELECT extract(epoch FROM clock_timestamp() - min(first.at)) FROM (VALUES (0), (1)) p (priority), LATERAL (
        SELECT d.next_attempt_at AS at FROM bridge_delivery d WHERE {queue} AND d.kind = k.kind
        AND d.priority = p.priority ORDER BY d.next_attempt_at LIMIT 1) first)
FROM {channels} c CROSS JOIN unnest(%s::text[]) k (kind) WHERE c.id = ANY(%s)
"""
NOT_FINISHED = "NOT (d.state IN ('delivered', 'unknown', 'cancelled', 'dead'))"
QUEUE_OF_API_CHANNEL = f"d.api_channel_id = c.id AND d.chat_channel_id IS NULL AND {NOT_FINISHED}"
QUEUE_OF_ALERT_ROUTE = f"d.alert_route_id = c.id AND {NOT_FINISHED}"
QUEUE_OF_CHAT_CHANNEL = f"COALESCE(d.chat_channel_id, 0) = c.id AND d.kind IN ('helpdesk', 'note') AND {NOT_FINISHED}"
# For each channel: webhooks that wait for the inbox, and the arrival of the oldest.
INBOX_SQL = """
SELECT c.id,
    (SELECT count(*) FROM (SELECT FROM bridge_webhookevent e WHERE e.{column} = c.id AND e.state = 'new'
        LIMIT {limit}) q),
    (SELECT extract(epoch FROM clock_timestamp() - e.received_at) FROM bridge_webhookevent e
        WHERE e.{column} = c.id AND e.state = 'new' ORDER BY e.id LIMIT 1)
FROM {channels} c WHERE c.id = ANY(%s)
"""
API_CHANNELS = {"column": "api_channel_id", "channels": "channels_setup_apichannel", "limit": COUNT_LIMIT}
CHAT_CHANNELS = {"column": "chat_channel_id", "channels": "channels_setup_chatchannel", "limit": COUNT_LIMIT}
ROUTES = {"channels": "channels_setup_alertroute", "limit": COUNT_LIMIT}


def list_chat_channels() -> list[ChatChannel]:
    """Return the chat channels with an external helpdesk, which are destinations."""
    channels = ChatChannel.objects.select_related("breaker").order_by("pk")
    return [channel for channel in channels if not channel.provider.built_in]


def _query(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _read_age(seconds: Any) -> float:
    """Return the age of the oldest row, or 0 if there is none or its time has not come."""
    return max(float(seconds or 0), 0.0)


def _count_up_to_limit(rows: Any) -> int:
    return int(rows.order_by()[:COUNT_LIMIT].count())


def describe_channels() -> Gauges:
    """Yield the names of channels and how many are in each state."""
    info = GaugeMetricFamily(
        "okno_channel_info", "Name, kind and state of a channel. Always 1.", labels=["channel", "kind", "name", "state"]
    )
    states = dict.fromkeys([*ChannelState.values, ARCHIVED], 0)
    breakers = GaugeMetricFamily("okno_circuit_breaker_open", "1 if the breaker is open.", labels=["channel"])
    for channel in ApiChannel.objects.select_related("breaker").order_by("pk"):
        label = catalog.name_api_channel(channel.pk)
        state = ARCHIVED if channel.archived_at else channel.state
        info.add_metric([label, channel.kind, channel.name, state], 1)
        states[state] = states.get(state, 0) + 1
        breaker = getattr(channel, "breaker", None)
        breakers.add_metric([label], bool(breaker and breaker.is_open))
    for chat_channel in list_chat_channels():
        label = catalog.name_chat_channel(chat_channel.pk)
        info.add_metric([label, chat_channel.kind, chat_channel.name, ""], 1)
        breaker = getattr(chat_channel, "breaker", None)
        breakers.add_metric([label], bool(breaker and breaker.is_open))
    for route in AlertRoute.objects.order_by("pk"):
        state = "enabled" if route.is_enabled else "disabled"
        info.add_metric([catalog.name_alert_route(route.pk), route.kind, route.name, state], 1)
    yield info
    yield breakers
    yield build_family("okno_api_channels", "API channels by state.", "state", states)


def build_family(name: str, help: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def measure_deliveries() -> Gauges:
    """Yield the deliveries in each state that is not final, and the queues of the destinations."""
    states = (*Delivery.UNFINISHED, Delivery.State.DEAD, Delivery.State.UNKNOWN)
    counts = {str(state): float(_count_up_to_limit(Delivery.objects.filter(state=state))) for state in states}
    yield build_family("okno_deliveries", "Deliveries by state.", "state", counts)
    age = dispatcher.get_oldest_due_age(now=service_window.database_now())
    yield GaugeMetricFamily("okno_oldest_due_delivery_seconds", "Age of the oldest due delivery.", value=age)
    depth = GaugeMetricFamily("okno_queue_deliveries", "Unfinished deliveries.", labels=["channel", "kind"])
    oldest = GaugeMetricFamily(
        "okno_queue_oldest_seconds",
        "How long the oldest delivery that may be attempted waits.",
        labels=["channel", "kind"],
    )
    queues: list[tuple[Callable[[int], str], Sequence[str], str, list[int]]] = [
        (
            catalog.name_api_channel,
            catalog.KINDS_BY_PREFIX["api"],
            QUEUES_SQL.format(**API_CHANNELS, queue=QUEUE_OF_API_CHANNEL),
            list(ApiChannel.objects.order_by("pk").values_list("pk", flat=True)),
        ),
        (
            catalog.name_chat_channel,
            catalog.KINDS_BY_PREFIX["chat"],
            QUEUES_SQL.format(**CHAT_CHANNELS, queue=QUEUE_OF_CHAT_CHANNEL),
            [channel.pk for channel in list_chat_channels()],
        ),
        (
            catalog.name_alert_route,
            catalog.KINDS_BY_PREFIX["alert"],
            QUEUES_SQL.format(**ROUTES, queue=QUEUE_OF_ALERT_ROUTE),
            list(AlertRoute.objects.order_by("pk").values_list("pk", flat=True)),
        ),
    ]
    for name, kinds, sql, channel_ids in queues:
        for pk, kind, count, seconds in _query(sql, list(kinds), channel_ids):
            depth.add_metric([name(pk), kind], count)
            oldest.add_metric([name(pk), kind], _read_age(seconds))
    yield depth
    yield oldest


def measure_inbox() -> Gauges:
    """Yield the webhooks that are not finished, and those waiting for each channel."""
    states = (WebhookEvent.State.NEW, *WebhookEvent.STUCK)
    counts = {str(state): float(_count_up_to_limit(WebhookEvent.objects.filter(state=state))) for state in states}
    yield build_family("okno_webhook_events", "Webhook events by state.", "state", counts)
    waiting = GaugeMetricFamily("okno_inbox_events", "Webhooks that wait for the inbox.", labels=["channel"])
    oldest = GaugeMetricFamily("okno_inbox_oldest_seconds", "How long the oldest of them waits.", labels=["channel"])
    api_channel_ids = list(ApiChannel.objects.order_by("pk").values_list("pk", flat=True))
    chat_channel_ids = [channel.pk for channel in list_chat_channels()]
    inboxes = [
        (catalog.name_api_channel, INBOX_SQL.format(**API_CHANNELS), api_channel_ids),
        (catalog.name_chat_channel, INBOX_SQL.format(**CHAT_CHANNELS), chat_channel_ids),
    ]
    for name, sql, channel_ids in inboxes:
        for pk, count, seconds in _query(sql, channel_ids):
            waiting.add_metric([name(pk)], count)
            oldest.add_metric([name(pk)], _read_age(seconds))
    yield waiting
    yield oldest


def measure_windows() -> Gauges:
    """Yield the open windows, and how late the oldest expired one is."""
    ((count, seconds),) = _query(
        f"""SELECT (SELECT count(*) FROM (SELECT FROM bridge_servicewindow WHERE state = 'open' LIMIT {COUNT_LIMIT}) q),
            (SELECT extract(epoch FROM clock_timestamp() - expires_at) FROM bridge_servicewindow
             WHERE state = 'open' ORDER BY expires_at LIMIT 1)"""
    )
    yield GaugeMetricFamily("okno_open_windows", "Open service windows.", value=count)
    yield GaugeMetricFamily(
        "okno_window_expiry_lag_seconds", "How late the oldest expired window is.", value=_read_age(seconds)
    )


def measure_problems() -> Gauges:
    """Yield open alerts by kind and severity, and mismatches by kind."""
    open_alerts = GaugeMetricFamily("okno_alerts_open", "Open alerts by kind.", labels=["kind", "severity"])
    for (kind, severity), count in alerts.count_open_alerts().items():
        open_alerts.add_metric([kind, severity], count)
    yield open_alerts
    counts = dict.fromkeys((str(kind) for kind in Mismatch.Kind), 0.0)
    for kind, count in _query(
        f"""SELECT kind, count(*) FROM (SELECT kind FROM bridge_mismatch WHERE settled_at IS NULL LIMIT {COUNT_LIMIT}) q
            GROUP BY kind"""
    ):
        counts[kind] = count
    help = "Messages whose status differs between the two sides."
    yield build_family("okno_mismatches", help, "kind", counts)


def measure_files() -> Gauges:
    """Yield the clients' files that wait for their download."""
    ((count, seconds),) = _query(
        f"""SELECT (SELECT count(*) FROM (SELECT FROM bridge_attachment WHERE state = 'waiting' LIMIT {COUNT_LIMIT}) q),
            (SELECT extract(epoch FROM clock_timestamp() - due_at) FROM bridge_attachment WHERE state = 'waiting'
             ORDER BY due_at LIMIT 1)"""
    )
    yield GaugeMetricFamily("okno_files_waiting", "Files of clients that are not downloaded yet.", value=count)
    help = "How long the oldest due download waits."
    yield GaugeMetricFamily("okno_files_oldest_due_seconds", help, value=_read_age(seconds))


def measure_components() -> Gauges:
    """Yield the ages of heartbeats, +Inf for a component that never worked, and the size of the database."""
    ages = dict.fromkeys(MAX_HEARTBEAT_AGE, float("inf")) | housekeeping.get_heartbeat_ages()
    help = "Seconds since the component last worked."
    yield build_family("okno_heartbeat_age_seconds", help, "component", ages)
    ((size,),) = _query("SELECT pg_database_size(current_database())")
    yield GaugeMetricFamily("okno_database_bytes", "Size of the database on disk.", value=size)


# Name of a group, as in okno_scrape_group_up → its gauges.
GROUPS: dict[str, Callable[[], Gauges]] = {
    "channels": describe_channels,
    "deliveries": measure_deliveries,
    "inbox": measure_inbox,
    "windows": measure_windows,
    "problems": measure_problems,
    "files": measure_files,
    "components": measure_components,
}


def measure_machine() -> Gauges:
    """Yield what is known without database and Redis."""
    info = GaugeMetricFamily("okno_build_info", "Version of the portal. Always 1.", labels=["version"])
    info.add_metric([VERSION], 1)
    yield info
    free = storage_limits.get_free_bytes()
    backup = backup_status.read_status()
    age = (timezone.now() - backup.made_at).total_seconds() if backup else float("nan")
    yield GaugeMetricFamily("okno_backup_age_seconds", "Age of the newest backup; NaN: never made here.", value=age)
    limit = settings.BACKUP_MAX_AGE_HOURS * 3600 or float("inf")
    yield GaugeMetricFamily("okno_backup_max_age_seconds", "BACKUP_MAX_AGE_HOURS; +Inf: no limit.", value=limit)
    yield GaugeMetricFamily("okno_disk_free_bytes", "Free bytes on the disk of the data folder.", value=free)
