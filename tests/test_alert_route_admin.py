"""Admin pages of alerts and alert routes: forms of each kind, the test button, who has seen an alert; SMTP."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from bridge.admin import alert_routes
from bridge.alert_routes import environment
from bridge.channel_health import alerts
from bridge.management.commands import alerts_page
from bridge.models import Alert, Delivery
from bridge.outbox import dispatcher
from channels_setup.models import AlertRoute
from tests.factories import ApiChannelFactory, vera
from tests.receiver import Receiver
from tests.scenarios.alert_routes import BOT_TOKEN, create_route, tell_routes

pytestmark = pytest.mark.django_db
PAGE = "/admin/channels_setup/alertroute/"
RULES = {"min_severity": "warning", "language": "en", "wait_minutes": "0", "collect_minutes": "0", "is_enabled": "on"}


@pytest.fixture
def admin_client() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


class SmtpServer(socketserver.ThreadingTCPServer):
    """A server that speaks enough SMTP to record messages. ``refusal``: its answer to RCPT, if not 250."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SmtpHandler)
        self.messages: list[str] = []
        self.refusal = ""


class SmtpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        self.reply("220 test")
        while line := self.rfile.readline().decode().strip():
            command = line[:4].upper()
            if command == "DATA":
                self.reply("354 go on")
                lines: list[str] = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                server.messages.append("\n".join(lines))
            self.reply(
                server.refusal or "250 ok" if command == "RCPT" else "221 bye" if command == "QUIT" else "250 ok"
            )

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield server
        server.shutdown()


def test_emails_go_through_the_smtp_server(smtp: SmtpServer) -> None:
    route = create_route("email")
    alerts.raise_alert(Alert.Kind.DISK_LOW, free_mb=3)
    dispatcher.send_due_deliveries()
    tell_routes()

    (message,) = smtp.messages
    assert "Subject: Critical: disk almost full" in message and "3 MB are free" in message
    assert f"Message-ID: <{Delivery.objects.get().key}@" in message

    smtp.refusal = "550 no such user"
    alerts.settle_alert(Alert.Kind.DISK_LOW)
    tell_routes()
    route.refresh_from_db()
    assert (route.last_error, route.last_answer) == ("alert_route_refused", "no such user")


@pytest.mark.usefixtures("in_english")
def test_the_form_has_the_fields_of_its_kind_and_hides_the_secret(admin_client: Client, receiver: Receiver) -> None:
    form = admin_client.get(f"{PAGE}add/?kind=telegram").content.decode()
    assert "Bot token" in form and "Chat ID" in form
    assert "Bot token" not in admin_client.get(f"{PAGE}add/?kind=email").content.decode()
    admin_client.post(f"{PAGE}add/?kind=email", {"name": "mail", "target": "a@b.example, c@d.example", **RULES})
    assert AlertRoute.objects.get(kind="email").target == "a@b.example, c@d.example"

    wrong = {"name": "duty", "target": "somewhere", "secret_value": "token", **RULES}
    page = admin_client.post(f"{PAGE}add/?kind=telegram", wrong).content.decode()
    assert "Enter the number of the chat" in page and "This is not a bot token" in page
    admin_client.post(f"{PAGE}add/?kind=telegram", {**wrong, "target": "-1001", "secret_value": BOT_TOKEN})

    times = {"quiet_from": "22:00", "quiet_until": "22:00"}
    page = admin_client.post(f"{PAGE}add/?kind=email", {"name": "x", "target": "a@b.example", **RULES, **times})
    assert "must end at another time" in page.content.decode()

    route = AlertRoute.objects.get(name="duty")
    assert (route.kind, route.target, route.reveal_secret()) == ("telegram", "-1001", BOT_TOKEN)
    assert BOT_TOKEN not in admin_client.get(f"{PAGE}{route.pk}/change/").content.decode()
    admin_client.post(f"{PAGE}{route.pk}/change/", {**wrong, "target": "-1002", "secret_value": ""})
    route.refresh_from_db()
    assert (route.target, route.reveal_secret()) == ("-1002", BOT_TOKEN)


@pytest.mark.usefixtures("in_english")
def test_the_key_of_a_webhook_is_shown_once(admin_client: Client, receiver: Receiver) -> None:
    values = {"name": "hook", "target": receiver.url("/hook"), **RULES}
    shown = admin_client.post(f"{PAGE}add/?kind=webhook", values).content.decode()

    route = AlertRoute.objects.get()
    assert route.reveal_secret() in shown
    assert route.reveal_secret() not in admin_client.get(f"{PAGE}{route.pk}/change/").content.decode()


@pytest.mark.usefixtures("in_english")
def test_the_test_button_shows_the_result(
    admin_client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_routes, "TEST_SECONDS", 0.0)
    receiver.answer("/duty", status=403, body={"message": "channel is archived"}, times=1)
    route = create_route(receiver=receiver, name="duty")

    for expected in ("channel is archived", "works"):
        page = admin_client.post(f"{PAGE}{route.pk}/actions/test/", follow=True).content.decode()
        assert "The test message is queued" in page
        dispatcher.send_due_deliveries()
        assert expected in admin_client.get(f"{PAGE}{route.pk}/change/").content.decode()
    assert json.loads(receiver.requests[-1].body)["type"] == "alert.test"


@pytest.mark.usefixtures("in_english")
def test_an_admin_who_looks_has_opened_the_alert_and_can_acknowledge_it(admin_client: Client) -> None:
    alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=ApiChannelFactory().pk)
    alert = Alert.objects.get()
    assert "Critical" in admin_client.get("/admin/bridge/alert/").content.decode().title()
    alert.refresh_from_db()
    assert alert.opened_at is None

    admin_client.get(f"/admin/bridge/alert/{alert.pk}/change/")
    admin_client.post(f"/admin/bridge/alert/{alert.pk}/actions/acknowledge/")

    alert.refresh_from_db()
    assert alert.opened_by is not None and alert.acknowledged_by == alert.opened_by


def test_routes_of_the_environment_follow_it_and_cannot_be_changed(admin_client: Client, settings: Any) -> None:
    settings.ALERT_ROUTES = [f"telegram://{BOT_TOKEN}/-100#after=15&name=boss", "mailto:a@b.example#severity=critical"]
    environment.sync_routes()
    environment.sync_routes()

    boss, other = AlertRoute.objects.order_by("pk")
    assert (boss.name, boss.wait_minutes, boss.reveal_secret()) == ("boss", 15, BOT_TOKEN)
    assert (other.target, other.min_severity) == ("a@b.example", "critical")
    assert b'name="_save"' not in admin_client.get(f"{PAGE}{boss.pk}/change/").content
    settings.ALERT_ROUTES = settings.ALERT_ROUTES[:1]
    environment.sync_routes()
    assert list(AlertRoute.objects.all()) == [boss]


def test_the_list_in_the_docs_is_that_of_the_catalog() -> None:
    page = alerts_page.PAGE_PATH.read_text()
    assert page == alerts_page.render_page(page)


def test_the_portal_checks_raise_and_settle_their_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.maintenance import portal_checks

    monkeypatch.setattr(portal_checks, "CONFIRM_SECONDS", 0.0)
    monkeypatch.setattr(portal_checks.storage_limits, "is_disk_low", lambda: True)
    monkeypatch.setattr(portal_checks.housekeeping, "get_heartbeat_ages", lambda: {"beat": 400.0, "inbound": 1.0})
    portal_checks.check_portal()
    found = set(Alert.objects.filter(settled_at=None).values_list("kind", "subject"))
    assert found == {("disk_low", ""), ("component_stopped", "beat")}
    assert alerts.count_open_alerts()["disk_low", "critical"] == 1

    monkeypatch.undo()
    portal_checks.check_portal()
    assert not Alert.objects.filter(settled_at=None, kind="component_stopped").exists()
