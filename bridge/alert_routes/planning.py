"""Planning of alert messages: one message per route at a time, with all that the route was not yet notified of.

While a message of a route is under way, nothing else is planned for it, and what changes meanwhile is collected. A
thousand alerts therefore make a few messages, and an alert that comes and goes in between makes none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from bridge import alert_catalog, service_window, wakeups
from bridge.models import Alert, AlertNotice, Delivery
from channels_setup.failing_items import FailingItems
from channels_setup.models import AlertRoute, AlertSeverity

from . import environment
from .rendering import AlertNews, render_message, render_test

MAX_ALERTS = 1_000  # in one message
ROUTES = FailingItems("alert routes")
Event = AlertNotice.Event


def plan_messages() -> int:
    """Create the message of each route that has news. Return how many."""
    with ROUTES.isolate("environment"):
        environment.sync_routes()
    planned = 0
    for pk in AlertRoute.objects.filter(is_enabled=True).values_list("pk", flat=True):
        with ROUTES.isolate(pk):
            planned += _plan_message(pk)
    return planned


@transaction.atomic
def _plan_message(route_id: int) -> bool:
    """Create the next message of a route, if it needs one. Does not wait for a worker that plans for the same route."""
    free = AlertRoute.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=route_id, is_enabled=True)
    route = free.first()
    now = service_window.database_now()
    if route is None or (route.retry_at is not None and route.retry_at > now):
        return False
    if Delivery.objects.filter(alert_route=route, state__in=Delivery.UNFINISHED).exists():
        return False
    news = choose_news(route, now=now)
    if not news:
        return False
    delivery = create_delivery(route, render_message(news, language=route.language))
    AlertNotice.objects.bulk_create(
        [AlertNotice(alert=item.alert, route=route, event=item.event, delivery=delivery) for item in news]
    )
    return True


def create_delivery(route: AlertRoute, payload: dict[str, object]) -> Delivery:
    """Create the delivery of a message. A worker sends it after the commit."""
    is_email = route.kind == AlertRoute.Kind.EMAIL
    kind = Delivery.Kind.ALERT_EMAIL if is_email else Delivery.Kind.ALERT
    delivery = Delivery.objects.create(kind=kind, alert_route=route, track=str(payload["type"]), payload=payload)
    wakeups.notify_after_commit(wakeups.ALERTS if is_email else wakeups.EVENTS)
    return delivery


def create_test(route: AlertRoute) -> Delivery:
    """Create a test message. Failures that the route remembers do not hold it back."""
    return create_delivery(route, render_test(route.name, language=route.language))


def choose_news(route: AlertRoute, *, now: datetime) -> list[AlertNews]:
    """Return what the route is notified of now: by its rules, its quiet hours and its collection time."""
    raised, resolved = _find_raised(route, now=now), _find_resolved(route) if route.tells_resolved else []
    news = [*raised, *resolved]
    if route.is_quiet(now):
        news = [item for item in news if item.severity == AlertSeverity.CRITICAL]
    if any(item.severity == AlertSeverity.CRITICAL for item in news) or not route.collect_minutes:
        return news
    collected_since = min((_get_time(item) for item in news), default=now)
    return news if now - collected_since >= timedelta(minutes=route.collect_minutes) else []


def _find_raised(route: AlertRoute, *, now: datetime) -> list[AlertNews]:
    notices = AlertNotice.objects.filter(alert=OuterRef("pk"), route=route, event=Event.RAISED)
    rows = Alert.objects.filter(
        ~Exists(notices), settled_at=None, kind__in=alert_catalog.list_kinds(route.min_severity)
    )
    rows = rows.exclude(kind=Alert.Kind.ROUTE_FAILING, subject=str(route.pk))  # the other routes report this one
    if route.wait_minutes:
        rows = rows.filter(opened_at=None, raised_at__lte=now - timedelta(minutes=route.wait_minutes))
    chosen = list(route.api_channels.values_list("pk", flat=True))
    if chosen:
        rows = rows.filter(api_channel__in=chosen)
    return [AlertNews(alert=alert, event=Event.RAISED) for alert in _load(rows)]


def _find_resolved(route: AlertRoute) -> list[AlertNews]:
    """Return resolved alerts that the route was notified of when they were raised."""
    notices = AlertNotice.objects.filter(alert=OuterRef("pk"), route=route)
    known = list(alert_catalog.CATALOG)  # not those of a newer release, during an upgrade or after a return from it
    rows = Alert.objects.exclude(settled_at=None).filter(Exists(notices.filter(event=Event.RAISED)), kind__in=known)
    rows = rows.filter(~Exists(notices.filter(event=Event.RESOLVED)))
    return [AlertNews(alert=alert, event=Event.RESOLVED) for alert in _load(rows)]


def _load(rows: QuerySet[Alert]) -> list[Alert]:
    """Load the alerts of one message. Critical ones come first: a thousand others must not hold them back."""
    by_severity = rows.annotate(is_critical=alert_catalog.IS_CRITICAL).order_by("-is_critical", "pk")
    return list(by_severity.select_related("api_channel")[:MAX_ALERTS])


def _get_time(item: AlertNews) -> datetime:
    return item.alert.settled_at if item.event == Event.RESOLVED and item.alert.settled_at else item.alert.raised_at
