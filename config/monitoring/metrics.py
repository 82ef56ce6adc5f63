"""Prometheus metrics. The gauges are read from the database at each scrape, so they cover all processes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from bridge import service_window
from bridge.files import storage_limits
from bridge.maintenance import housekeeping
from bridge.models import Delivery, Mismatch, ServiceWindow, WebhookEvent
from bridge.outbox import dispatcher
from channels_setup.models import ApiChannel
from config.accounts.authentication import ApiTokenAuthentication, opens_metrics
from config.web import client_address


class PortalCollector(Collector):
    """Gauges for alerting. Counts use partial indexes on unfinished and failed rows, never the whole history."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        heartbeats = GaugeMetricFamily(
            "okno_heartbeat_age_seconds", "Seconds since the component last worked.", labels=["component"]
        )
        for component, age in housekeeping.get_heartbeat_ages().items():
            heartbeats.add_metric([component], age)
        yield heartbeats
        deliveries = GaugeMetricFamily("okno_deliveries", "Deliveries by state.", labels=["state"])
        states = (*Delivery.UNFINISHED, Delivery.State.DEAD, Delivery.State.UNKNOWN)
        for state in states:
            deliveries.add_metric([state], Delivery.objects.filter(state=state).count())
        yield deliveries
        age = dispatcher.get_oldest_due_age(now=service_window.database_now())
        yield GaugeMetricFamily("okno_oldest_due_delivery_seconds", "Age of the oldest due delivery.", value=age)
        events = GaugeMetricFamily("okno_webhook_events", "Webhook events by state.", labels=["state"])
        for event_state in (WebhookEvent.State.NEW, *WebhookEvent.STUCK):
            events.add_metric([event_state], WebhookEvent.objects.filter(state=event_state).count())
        yield events
        mismatches = GaugeMetricFamily(
            "okno_mismatches", "Messages whose status differs between the two sides.", labels=["kind"]
        )
        unsettled = Mismatch.objects.filter(settled_at=None).order_by()
        for mismatch_kind, number in unsettled.values_list("kind").annotate(Count("pk")):
            mismatches.add_metric([mismatch_kind], number)
        yield mismatches
        open_windows = ServiceWindow.objects.filter(state=ServiceWindow.State.OPEN).count()
        yield GaugeMetricFamily("okno_open_windows", "Open service windows.", value=open_windows)
        yield GaugeMetricFamily(
            "okno_disk_free_bytes", "Free bytes on the disk of the data folder.", value=storage_limits.get_free_bytes()
        )
        channels = GaugeMetricFamily("okno_api_channels", "API channels by state.", labels=["state"])
        for state, number in ApiChannel.objects.order_by().values_list("state").annotate(Count("pk")):
            channels.add_metric([state], number)
        yield channels


def export_metrics(request: HttpRequest) -> HttpResponse:
    """View of /metrics, for a scraper on this machine, with a metrics token, or with an admin's token."""
    if not (is_local_request(request) or has_metrics_token(request)):
        refused = HttpResponse("Only from this machine, or with an API token for metrics.\n", status=403)
        refused.is_token_refused = "HTTP_AUTHORIZATION" in request.META  # type: ignore[attr-defined]
        return refused
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PortalCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def is_local_request(request: HttpRequest) -> bool:
    """Return whether the request comes from this machine. Requests that a local proxy forwards do not count."""
    if "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META:
        return False
    try:
        return ipaddress.ip_address(client_address.normalize_address(request.META.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False


def has_metrics_token(request: HttpRequest) -> bool:
    """Return whether the request has a token of staff, or a metrics token of a service account."""
    try:
        found = ApiTokenAuthentication().authenticate(Request(request))
    except (AuthenticationFailed, PermissionDenied):
        return False
    return found is not None and opens_metrics(found[1])
