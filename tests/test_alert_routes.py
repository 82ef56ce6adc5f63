"""Alert routes: who is notified of what and when, through the delivery engine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from bridge.alert_catalog import CATALOG
from bridge.alert_routes import planning, rendering
from bridge.alert_routes.rendering import AlertNews
from bridge.alert_routes.requests import RouteAccount, build_request
from bridge.channel_health import alerts
from bridge.models import Alert, AlertNotice, Attempt, Delivery, RateLimit
from bridge.outbox import dispatcher
from channels_setup.models import AlertRoute, ApiChannel
from tests.factories import ApiChannelFactory
from tests.receiver import Receiver
from tests.scenarios.alert_routes import BOT_TOKEN, create_route, tell_routes
from tests.scenarios.sending import make_deliveries_due

pytestmark = pytest.mark.django_db
Kind = Alert.Kind


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Main number")


@pytest.fixture(autouse=True)
def _services(receiver: Receiver, settings: Any) -> None:
    settings.ALERT_TELEGRAM_URL, settings.EMAIL_HOST = receiver.url(), "mail.example"


def texts(receiver: Receiver) -> list[str]:
    return [request.body.decode() for request in receiver.requests]


# --- what is said ---


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("kind", Alert.Kind.values)
def test_every_alert_says_what_where_since_when_and_what_to_do(kind: str, language: str, channel: ApiChannel) -> None:
    is_of_channel = "%(channel)s" in str(CATALOG[kind].sentence)
    details = {"name": "Support", "component": "beat", "count": 3, "hours": 5, "minutes": 6, "days": 2.5, "percent": 50}
    alert = Alert(
        pk=17,
        kind=kind,
        api_channel=channel if is_of_channel else None,
        details={**details, "free_mb": 10, "ids": "1", "why_code": "rate_limited"},
        raised_at=timezone.now(),
    )

    for event in AlertNotice.Event.values:
        payload = rendering.render_message([AlertNews(alert=alert, event=event)], language=language)
        text = payload["text"]
        assert text.startswith(payload["subject"]) and "/admin/bridge/alert/17/change/" in text
        assert ("Main number" in text) == is_of_channel and "%(" not in text
        for route_kind in AlertRoute.Kind.values[1:]:
            account = RouteAccount(kind=route_kind, target="https://x.example", secret="https://y.example")
            request = build_request(account, payload, key="msg_1", at=timezone.now())
            assert json.loads(request.body) and b"/admin/bridge/alert/17/change/" in request.body


def test_each_kind_of_route_gets_its_format(channel: ApiChannel, receiver: Receiver) -> None:
    for kind in AlertRoute.Kind.values:
        create_route(kind, receiver=receiver)
    alerts.raise_alert(Kind.SWITCHED_OFF, api_channel_id=channel.pk, why_code="unauthorized")

    tell_routes()

    by_path = {request.path: request for request in receiver.requests}
    telegram = json.loads(by_path[f"/bot{BOT_TOKEN}/sendMessage"].body)
    assert telegram["chat_id"] == "-100200" and telegram["text"].startswith("Critical: channel paused by the portal")
    assert json.loads(by_path["/route-chat"].body)["text"] == telegram["text"]
    webhook = by_path["/route-webhook"]
    event = json.loads(webhook.body)
    assert (event["type"], event["data"]["alerts"][0]["kind"]) == ("alert.changed", "switched_off")
    signed = f"{webhook.headers['webhook-id']}.{webhook.headers['webhook-timestamp']}.".encode() + webhook.body
    digest = hmac.new(b"webhook-key-0123456789", signed, hashlib.sha256).digest()
    assert webhook.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    (email,) = mail.outbox
    assert email.subject == "Critical: channel paused by the portal (Main number)"
    assert email.to == ["ops@company.example"] and "What to do:" in email.body
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


# --- who is notified, once ---


def test_an_alert_is_told_once_and_its_end_once(channel: ApiChannel, receiver: Receiver) -> None:
    create_route(receiver=receiver)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    tell_routes()
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk, count=2)
    tell_routes()
    assert len(receiver.requests) == 1

    alerts.settle_alert(Kind.BREAKER, api_channel_id=channel.pk)
    tell_routes()
    tell_routes()

    assert [json.loads(text)["data"]["alerts"][0]["event"] for text in texts(receiver)] == ["raised", "resolved"]


def test_an_alert_that_ends_before_it_is_told_is_not_told(channel: ApiChannel, receiver: Receiver) -> None:
    create_route(receiver=receiver)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    alerts.settle_alert(Kind.BREAKER, api_channel_id=channel.pk)

    tell_routes()

    assert not receiver.requests


def test_a_route_gets_alerts_of_its_severity_and_channels(channel: ApiChannel, receiver: Receiver) -> None:
    only_critical = create_route(receiver=receiver, name="critical", min_severity="critical")
    only_channel = create_route(receiver=receiver, name="channel", min_severity="info")
    only_channel.api_channels.add(channel)
    alerts.raise_alert(Kind.GROUPS, api_channel_id=channel.pk, count=1)
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=ApiChannelFactory().pk)

    planning.plan_messages()

    told = {
        route: set(AlertNotice.objects.filter(route=route).values_list("alert__kind", flat=True))
        for route in (only_critical, only_channel)
    }
    assert told == {only_critical: {"disk_low", "breaker"}, only_channel: {"groups"}}


def test_a_thousand_alerts_make_one_message(receiver: Receiver) -> None:
    create_route(receiver=receiver)
    for number in range(1_000):
        alerts.raise_alert(Kind.EVENTS_FAILED, subject=str(number), count=1)

    for _ in range(3):
        tell_routes()

    (text,) = texts(receiver)
    data = json.loads(text)["data"]
    assert data["subject"] == "1000 new alerts, at most warning" and data["others"] == 992
    assert len(data["text"]) < 4_000


def test_what_changes_during_a_message_is_collected(channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/route-webhook", status=503, times=1)
    create_route(receiver=receiver)
    alerts.raise_alert(Kind.DISK_LOW, free_mb=1)
    tell_routes()
    for number in range(5):
        alerts.raise_alert(Kind.BREAKER, api_channel_id=ApiChannelFactory(name=f"n{number}").pk)
        tell_routes()
    assert len(receiver.requests) == 1

    make_deliveries_due()
    RateLimit.objects.all().delete()
    tell_routes()
    tell_routes()

    assert [len(json.loads(text)["data"]["alerts"]) for text in texts(receiver)] == [1, 1, 5]


# --- when ---


@time_machine.travel(datetime(2026, 11, 29, 20, 30, tzinfo=UTC), tick=False)  # 23:30 in Moscow
def test_quiet_hours_hold_all_but_critical_alerts(channel: ApiChannel, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Moscow"
    route = create_route(quiet_from=time(23), quiet_until=time(8))

    assert route.is_quiet(timezone.now()) and not route.is_quiet(timezone.now() - timedelta(hours=1))
    assert route.is_quiet(timezone.now() + timedelta(hours=8, minutes=29))
    assert not route.is_quiet(timezone.now() + timedelta(hours=8, minutes=30))
    alerts.raise_alert(Kind.MISMATCH, api_channel_id=channel.pk, count=1)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    news = planning.choose_news(route, now=timezone.now())
    assert [item.alert.kind for item in news] == ["breaker"]
    news = planning.choose_news(route, now=timezone.now() + timedelta(hours=9))
    assert {item.alert.kind for item in news} == {"mismatch", "breaker"}


def test_a_digest_waits_unless_an_alert_is_critical(channel: ApiChannel) -> None:
    route = create_route(collect_minutes=30)
    alerts.raise_alert(Kind.MISMATCH, api_channel_id=channel.pk, count=1)
    now = timezone.now()

    assert planning.choose_news(route, now=now + timedelta(minutes=29)) == []
    assert len(planning.choose_news(route, now=now + timedelta(minutes=31))) == 1
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    assert len(planning.choose_news(route, now=now)) == 2


def test_a_second_route_is_told_if_nobody_opens_the_alert(channel: ApiChannel, receiver: Receiver) -> None:
    create_route(receiver=receiver, name="duty")
    create_route(receiver=receiver, name="boss", wait_minutes=15)
    seen, unseen = ApiChannelFactory(name="seen"), ApiChannelFactory(name="unseen")
    for each in (seen, unseen):
        alerts.raise_alert(Kind.BREAKER, api_channel_id=each.pk)
    tell_routes()
    assert [request.path for request in receiver.requests] == ["/duty"]

    alerts.mark_opened(Alert.objects.get(api_channel=seen), by=None)
    Alert.objects.update(raised_at=timezone.now() - timedelta(minutes=16))
    tell_routes()

    assert [request.path for request in receiver.requests] == ["/duty", "/boss"]
    assert [alert["api_channel"]["name"] for alert in json.loads(texts(receiver)[1])["data"]["alerts"]] == ["unseen"]


# --- failures ---


def test_telegram_says_how_long_to_wait(channel: ApiChannel, receiver: Receiver) -> None:
    answer = {"ok": False, "error_code": 429, "parameters": {"retry_after": 400}}
    receiver.answer(f"/bot{BOT_TOKEN}/sendMessage", status=429, body=answer)
    create_route("telegram")
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)

    tell_routes()

    delivery = Delivery.objects.get()
    assert delivery.state == "pending" and delivery.next_attempt_at > timezone.now() + timedelta(seconds=390)
    assert not Alert.objects.filter(kind=Kind.ROUTE_FAILING).exists()


def test_a_refused_route_is_told_of_by_the_others(channel: ApiChannel, receiver: Receiver) -> None:
    answer = {"ok": False, "error_code": 403, "description": f"Forbidden: bot {BOT_TOKEN} was kicked"}
    receiver.answer(f"/bot{BOT_TOKEN}/sendMessage", status=403, body=answer)
    failing = create_route("telegram", name="telegram")
    create_route(receiver=receiver, name="other")
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    tell_routes()

    for _ in range(3):
        tell_routes()

    failing.refresh_from_db()
    assert failing.failing_since is not None and failing.last_error == "alert_route_refused"
    assert failing.last_answer.startswith("Forbidden: bot") and BOT_TOKEN not in failing.last_answer
    assert BOT_TOKEN not in Attempt.objects.get(http_status=403).answer
    sent = [request.path for request in receiver.requests]
    assert sent.count("/other") == 2 and len(sent) == 3  # one attempt an hour at the failing route
    assert "Alerts cannot be sent to “telegram”." in texts(receiver)[-1]
    assert not AlertNotice.objects.filter(route=failing).exists()

    receiver.answer(f"/bot{BOT_TOKEN}/sendMessage", status=200, body={"ok": True})
    AlertRoute.objects.update(retry_at=None)
    tell_routes()
    tell_routes()

    failing.refresh_from_db()
    assert failing.failing_since is None and AlertNotice.objects.filter(route=failing).exists()
    assert Alert.objects.get(kind=Kind.ROUTE_FAILING).settled_at is not None


def test_two_failing_routes_do_not_alert_each_other_for_ever(channel: ApiChannel, receiver: Receiver) -> None:
    for name in ("one", "two"):
        receiver.answer(f"/{name}", status=404)
        create_route(receiver=receiver, name=name)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)

    for _ in range(10):
        tell_routes()

    assert len(receiver.requests) == 2
    assert Alert.objects.filter(kind=Kind.ROUTE_FAILING).count() == 2


def test_a_worker_that_dies_before_the_answer_repeats_under_the_same_key(
    channel: ApiChannel, receiver: Receiver
) -> None:
    create_route(receiver=receiver)
    alerts.raise_alert(Kind.BREAKER, api_channel_id=channel.pk)
    planning.plan_messages()
    dispatcher.send_due_deliveries()
    # The result was lost: the lease runs out.
    Delivery.objects.update(state="sending", next_attempt_at=timezone.now() - timedelta(seconds=1))

    dispatcher.send_due_deliveries()

    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == 2 and Delivery.objects.get().state == "delivered"
