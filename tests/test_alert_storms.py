"""Alerts in bad hours: storms, restarts, blocked mail servers, messages that cannot be sent, changed routes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time, timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from bridge.admin import start_page
from bridge.alert_routes import email, environment, planning
from bridge.channel_health import alerts
from bridge.maintenance import portal_checks, pruning
from bridge.models import Alert, AlertNotice, CircuitBreaker, Delivery
from bridge.outbox import dispatcher
from channels_setup.advisory_locks import LockSpace
from channels_setup.models import AlertRoute
from channels_setup.providers.base import ACCEPTED, Outcome
from config import setting_kinds
from tests.databases import lock_held_elsewhere
from tests.factories import ApiChannelFactory, ChatChannelFactory
from tests.receiver import Receiver
from tests.scenarios.alert_routes import create_route, tell_routes

pytestmark = pytest.mark.django_db
Kind = Alert.Kind
TELEGRAM_LIMIT = 4_096


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The monotonic clock of the portal's checks."""
    now = [1_000.0]
    monkeypatch.setattr(portal_checks.time, "monotonic", lambda: now[0])
    portal_checks._suspicions.clear()
    yield now
    portal_checks._suspicions.clear()


# --- storms ---


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_longest_message_fits_into_telegram(language: str) -> None:
    route = create_route("telegram", language=language)
    for number in range(20):
        channel = ApiChannelFactory(name=f"{number} ".ljust(200, "ы"))
        alerts.raise_alert(Kind.SWITCHED_OFF, api_channel_id=channel.pk, why_code="failing_for_days")

    planning.plan_messages()

    payload = Delivery.objects.get(alert_route=route).payload
    assert len(f"{payload['subject']}\n\n{payload['text']}") <= TELEGRAM_LIMIT
    assert len(payload["alerts"]) + payload["others"] == 20


def test_a_storm_does_not_hold_back_a_critical_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_ALERTS", 3)
    route = create_route(quiet_from=time(0), quiet_until=time(23, 59, 59, 999_999))
    for number in range(5):
        alerts.raise_alert(Kind.EVENTS_FAILED, subject=str(number), count=1)
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)

    news = planning.choose_news(route, now=timezone.now())

    assert [item.alert.kind for item in news] == ["disk_low"]


def test_the_start_page_shows_critical_alerts_and_counts_the_others() -> None:
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)
    for number in range(6):
        alerts.raise_alert(Kind.EVENTS_FAILED, subject=str(number), count=1)

    with translation.override("en"):
        sentences = [warning["sentence"] for warning in start_page.list_warnings([])]

    assert sentences[0].startswith("The disk of the data folder is almost full")
    assert "And 2 more alerts." in sentences


def test_emails_are_sent_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    leased: list[int] = []

    def send_email(*args: Any, **kwargs: Any) -> Outcome:
        leased.append(Delivery.objects.filter(state="sending").count())
        return Outcome(verdict=ACCEPTED)

    monkeypatch.setattr(email, "send_email", send_email)
    for number in range(3):
        create_route("email", name=f"mail {number}")
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)

    tell_routes()

    assert leased == [1, 1, 1]


# --- restarts ---


def test_a_restart_raises_no_alert_of_stopped_components(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    ages = {"beat": 1.0, "inbound": 30_000.0}
    monkeypatch.setattr(portal_checks.housekeeping, "get_heartbeat_ages", lambda: ages)

    portal_checks.check_components()
    ages["inbound"] = 1.0
    clock[0] += 30
    portal_checks.check_components()
    ages["inbound"] = 90.0
    clock[0] += 30
    portal_checks.check_components()
    assert not Alert.objects.exists()

    clock[0] += 30
    portal_checks.check_components()
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject, alert.settled_at) == (Kind.COMPONENT_STOPPED, "inbound", None)


def test_the_outbound_queue_notices_that_beat_stopped(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(portal_checks.housekeeping, "get_heartbeat_ages", lambda: {"beat": 50.0, "inbound": 500.0})

    portal_checks.check_beat()
    clock[0] += 20
    portal_checks.check_beat()

    assert Alert.objects.get().subject == "beat"


# --- what no attempt settles ---


def test_a_changed_helpdesk_and_an_archived_channel_settle_their_alerts() -> None:
    down, changed = ChatChannelFactory(), ChatChannelFactory()
    CircuitBreaker.objects.create(chat_channel=down, is_open=True)
    CircuitBreaker.objects.create(chat_channel=changed)
    for desk in (down, changed):
        alerts.raise_alert(Kind.HELPDESK_DOWN, subject=str(desk.pk), name=desk.name)
    failing, archived = ApiChannelFactory(), ApiChannelFactory()
    archived.archive()
    for channel in (failing, archived):
        alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)

    portal_checks.settle_gone_subjects()

    left = Alert.objects.filter(settled_at=None)
    assert set(left.values_list("kind", "subject", "api_channel")) == {
        (Kind.HELPDESK_DOWN, str(down.pk), None),
        (Kind.BREAKER, "", failing.pk),
    }


# --- messages that cannot be sent ---


def test_an_exhausted_message_counts_as_not_told(receiver: Receiver) -> None:
    route = create_route(receiver=receiver)
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)
    planning.plan_messages()
    earlier = timezone.now() - timedelta(seconds=1)
    Delivery.objects.update(
        state="sending", attempts=6, next_attempt_at=earlier, lease_token="12345678-1234-5678-1234-567812345678"
    )

    dispatcher.send_due_deliveries()

    route.refresh_from_db()
    assert not receiver.requests and Delivery.objects.get().state == "dead"
    assert not AlertNotice.objects.exists() and route.retry_at is not None
    assert Alert.objects.filter(kind=Kind.ROUTE_FAILING, subject=str(route.pk)).exists()


def test_a_disabled_route_is_not_told_of(receiver: Receiver) -> None:
    receiver.answer("/duty", status=404)
    create_route(receiver=receiver, name="duty")
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)
    planning.plan_messages()
    AlertRoute.objects.update(is_enabled=False)

    dispatcher.send_due_deliveries()

    assert Delivery.objects.get().state == "dead"
    assert not Alert.objects.filter(kind=Kind.ROUTE_FAILING).exists()


def test_old_given_up_messages_are_deleted(receiver: Receiver) -> None:
    route = create_route(receiver=receiver)
    planning.create_test(route)
    old = timezone.now() - timedelta(days=200)
    Delivery.objects.update(state="dead", created_at=old, finished_at=old)

    assert sum(pruning.prune_deliveries(days=180)) == 1
    assert not Delivery.objects.exists()


# --- ALERT_ROUTES ---


def test_a_key_keeps_its_plus_and_a_name_its_spaces(settings: Any) -> None:
    settings.ALERT_ROUTES = ["webhook+https://x.example/hook#key=a+b/c==&name=On%20call"]
    environment.sync_routes()

    route = AlertRoute.objects.get()
    assert (route.reveal_secret(), route.name) == ("a+b/c==", "On call")


def test_a_wrong_route_of_the_environment_prevents_no_other(settings: Any) -> None:
    settings.ALERT_ROUTES = ["mailto:a@b.example#after=-5", "mailto:c@d.example"]
    environment.sync_routes()

    assert AlertRoute.objects.get().target == "c@d.example"


def test_one_process_at_a_time_adds_routes_of_the_environment(transactional_db: None, settings: Any) -> None:
    settings.ALERT_ROUTES = ["mailto:a@b.example"]
    with lock_held_elsewhere(LockSpace.ALERT_ROUTES, environment.SYNC):
        environment.sync_routes()
        assert not AlertRoute.objects.exists()

    environment.sync_routes()
    assert AlertRoute.objects.count() == 1


@pytest.mark.parametrize(
    "text",
    [
        "mailto:nobody",
        "mailto:a@b.example#severity=high",
        "mailto:a@b.example#after=1441",
        "mailto:a@b.example#digest=soon",
        "mailto:a@b.example#when=now",
        "telegram://123456:ABC",
        "webhook+https://x.example/hook",
        "chat+http://x.example/hook",
    ],
)
def test_a_wrong_route_of_the_environment_ends_the_program(text: str) -> None:
    with pytest.raises(ValueError):
        setting_kinds.parse_alert_routes(text)


def test_right_routes_of_the_environment_are_accepted() -> None:
    text = (
        "mailto:a@b.example,c@d.example#severity=critical&name=On%20call telegram://123:ABC/-100#after=15&language=en "
        "chat+https://hooks.example/x webhook+https://x.example/hook#key=k&digest=1440"
    )
    assert len(setting_kinds.parse_alert_routes(text)) == 4
