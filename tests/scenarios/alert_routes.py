"""Alert routes of every kind, with a receiver that plays Telegram, Slack or a webhook."""

from __future__ import annotations

from typing import Any

from bridge.alert_routes import planning
from bridge.outbox import dispatcher
from bridge.outbox.policies import Lane
from channels_setup.models import AlertRoute
from tests.receiver import Receiver

Kind = AlertRoute.Kind
BOT_TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"


def create_route(
    kind: str = Kind.WEBHOOK, *, receiver: Receiver | None = None, name: str = "", **rules: Any
) -> AlertRoute:
    """Create a route of this kind, to the receiver's path ``/<name>``."""
    name = name or f"route {kind}"
    url = receiver.url(f"/{name.replace(' ', '-')}") if receiver else "https://hooks.example/x"
    target, secret = {
        Kind.EMAIL: ("ops@company.example", ""),
        Kind.TELEGRAM: ("-100200", BOT_TOKEN),
        Kind.CHAT: ("", url),
        Kind.WEBHOOK: (url, "webhook-key-0123456789"),
    }[Kind(kind)]
    route = AlertRoute(name=name, kind=kind, target=target, **({"language": "en"} | rules))
    route.set_secret(secret)
    route.save()
    return route


def tell_routes() -> None:
    """Plan the messages of all routes, and send them."""
    planning.plan_messages()
    dispatcher.send_due_deliveries()
    dispatcher.send_due_deliveries(Lane.MAIL)
