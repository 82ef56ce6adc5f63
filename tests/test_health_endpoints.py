"""/health/live, /health/ready and /metrics: what each checks, who may ask, and when it fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.utils import timezone

from bridge import service_window
from bridge.maintenance import housekeeping, write_probe
from bridge.models import Heartbeat
from bridge.outbox import dispatcher
from channels_setup.models import ChannelState
from config.version import VERSION
from tests.factories import (
    ApiChannelFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    boris,
    token_of,
    vera,
)

pytestmark = pytest.mark.django_db

PARTS = ("beat", "inbound", "outbound", "events")


@pytest.fixture(autouse=True)
def probe_again() -> None:
    write_probe.reset_write_check()


@pytest.fixture
def healthy_system() -> None:
    for part in PARTS:
        housekeeping.record_heartbeat(part)


@pytest.fixture
def readiness(client: Any) -> Any:
    def ask() -> tuple[int, dict[str, Any]]:
        answer = client.get("/health/ready")
        red = {name for name, part in answer.json()["components"].items() if part["state"] == "red"}
        assert (answer.status_code == 503) == bool(red) == (answer.json()["status"] == "red")
        return answer.status_code, red

    return ask


def silent_for(part: str, seconds: float) -> None:
    Heartbeat.objects.filter(name=part).update(at=timezone.now() - timedelta(seconds=seconds))


def test_live_runs_no_checks(client: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert client.get("/health/live").json() == {"status": "ok"}


def test_the_version_is_shown_only_to_callers_who_may_see_details(healthy_system: None, client: Any) -> None:
    assert client.get("/health/ready").json()["version"] == VERSION
    assert "version" not in client.get("/health/ready", REMOTE_ADDR="203.0.113.9").json()


def test_ready_succeeds_when_every_component_works(healthy_system: None, readiness: Any) -> None:
    assert readiness() == (200, set())


def test_ready_fails_until_every_component_has_reported(readiness: Any) -> None:
    assert readiness() == (503, set(PARTS))


@pytest.mark.parametrize(("part", "seconds"), [("beat", 31), ("inbound", 61), ("outbound", 61)])
def test_a_component_that_is_silent_for_too_long_fails_the_check(
    healthy_system: None, readiness: Any, part: str, seconds: int
) -> None:
    silent_for(part, seconds / 2)
    assert readiness() == (200, set())

    silent_for(part, seconds)

    assert readiness() == (503, {part})


def test_an_overdue_delivery_fails_the_check(healthy_system: None, readiness: Any) -> None:
    DeliveryFactory(next_attempt_at=timezone.now() - timedelta(minutes=10))

    assert readiness() == (503, {"oldest_due_delivery"})


def test_a_delivery_within_its_schedule_does_not_fail_the_check(healthy_system: None, readiness: Any) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    later = timezone.now() + timedelta(hours=1)
    DeliveryFactory(next_attempt_at=long_ago, api_channel=ApiChannelFactory(state=ChannelState.PAUSED))
    DeliveryFactory(next_attempt_at=long_ago, state="dead")
    tried_again_later = DeliveryFactory(next_attempt_at=later)
    behind = MessageFactory(conversation=tried_again_later.conversation, outbound=True)
    DeliveryFactory(message=behind, next_attempt_at=long_ago)

    assert dispatcher.get_oldest_due_age(now=service_window.database_now()) == 0
    assert readiness() == (200, set())


def test_an_unreachable_broker_fails_the_check_immediately(healthy_system: None, readiness: Any, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert readiness() == (503, {"broker"})


def test_a_full_broker_fails_the_check_although_it_answers(
    healthy_system: None, readiness: Any, monkeypatch: Any
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'")

    monkeypatch.setattr(redis.Redis, "set", full)

    assert readiness() == (503, {"broker"})


def test_an_unreachable_database_fails_the_check_without_revealing_secrets(client: Any, monkeypatch: Any) -> None:
    def gone() -> None:
        raise OperationalError("password authentication failed for user okno at 10.0.0.7")

    monkeypatch.setattr("config.monitoring.health.check_database", gone)

    answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["components"]["database"] == {"state": "red", "error": "OperationalError"}
    assert "okno" not in answer.content.decode()


# --- metrics ---------------------------------------------------------------------------------------------


def test_metrics_for_a_local_scraper_cover_every_alarm(client: Any, healthy_system: None) -> None:
    DeliveryFactory(state="dead")
    DeliveryFactory(next_attempt_at=timezone.now() - timedelta(seconds=90))
    ServiceWindowFactory()

    metrics = client.get("/metrics").content.decode()

    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert values['okno_deliveries{state="dead"}'] == values['okno_deliveries{state="pending"}'] == "1.0"
    assert values["okno_open_windows"] == "1.0"
    assert float(values["okno_oldest_due_delivery_seconds"]) >= 90
    assert float(values['okno_heartbeat_age_seconds{component="beat"}']) < 30
    assert values['okno_api_channels{state="live"}'] == "3.0"


@pytest.mark.parametrize(
    ("extra", "who", "status"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, None, 200),
        ({"REMOTE_ADDR": "::1"}, None, 200),
        ({"REMOTE_ADDR": "::ffff:127.0.0.1"}, None, 200),
        ({"REMOTE_ADDR": "203.0.113.7"}, None, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, None, 403),
        ({"REMOTE_ADDR": "203.0.113.7"}, boris, 403),
        ({"REMOTE_ADDR": "203.0.113.7"}, vera, 200),
        ({"REMOTE_ADDR": ""}, None, 403),
    ],
)
def test_metrics_are_for_this_machine_and_for_admins_tokens(
    client: Any, extra: dict[str, str], who: Any, status: int
) -> None:
    headers = token_of(who()) if who else {}

    assert client.get("/metrics", headers=headers, **extra).status_code == status


def test_a_wrong_token_gets_no_metrics(client: Any) -> None:
    answer = client.get("/metrics", headers={"authorization": "Token nonsense"}, REMOTE_ADDR="203.0.113.7")

    assert answer.status_code == 403
