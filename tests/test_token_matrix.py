"""Every route of the resolver with every kind of API token: scopes, chat channels, service accounts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from channels_setup.roles import Role, assign_role
from config.accounts.models import ApiToken, Scope, ServiceAccount
from config.web.route_access import Audience
from tests.channel_worlds import CANARIES, PHONE, TEXT, World, make_world
from tests.factories import ChatChannelFactory, UserFactory
from tests.test_route_access import Route, all_routes, is_refused, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

A = Audience
ROUTES = all_routes()
API_ROUTES = [route for route in ROUTES if route.is_api]
OF_ADMINS = {A.API_ADMINS, A.API_PERMITTED}
WRITING = ("POST", "PUT", "PATCH", "DELETE")
OPEN_TO_ANYBODY = {A.ANYONE, A.LINK, A.API_KEY}  # the secret in the URL or the key decides


@pytest.fixture(autouse=True)
def without_limits_and_log(settings: Any) -> Iterator[None]:
    settings.API_CALLS_PER_MINUTE = 0
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def a() -> World:
    world = make_world("a", text=TEXT, phone=PHONE)
    world.rows["apichannel"] = world.api_channel
    return world


def caller(kind: str, a: World) -> Client:
    """Return a client with a token of this kind. All but ``foreign`` ones know channel A or what is left of it."""
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    gone = ChatChannelFactory()
    operator_left = UserFactory(username="left")
    assign_role(operator_left, role=Role.OPERATOR)  # without any chat channel
    service = ServiceAccount.create("program", chat_channels=[a.chat_channel])
    foreign = ServiceAccount.create("foreign", chat_channels=[ChatChannelFactory()])
    owner, options = {
        "read": (root, {"scope": Scope.READ}),
        "write": (root, {}),
        "metrics": (root, {"scope": Scope.METRICS}),
        "one channel": (root, {"chat_channels": [a.chat_channel]}),
        "one channel, read": (root, {"chat_channels": [a.chat_channel], "scope": Scope.READ}),
        "another channel": (root, {"chat_channels": [ChatChannelFactory()]}),
        "deleted channel": (root, {"chat_channels": [gone]}),
        "no channel": (root, {"chat_channels": []}),
        "left channel": (operator_left, {"chat_channels": [a.chat_channel]}),
        "service": (service, {}),
        "service, read": (service, {"scope": Scope.READ}),
        "service, metrics": (service, {"scope": Scope.METRICS}),
        "foreign service": (foreign, {}),
        "service with another channel": (service, {"chat_channels": [ChatChannelFactory()]}),
        "revoked": (root, {}),
        "expired": (root, {"expires_at": timezone.now() - timedelta(seconds=1)}),
    }[kind]
    token, text = ApiToken.issue(owner, name="x", **options)
    gone.delete()
    if kind == "revoked":
        ApiToken.objects.filter(pk=token.pk).revoke()
    headers = {"authorization": f"Token {text}", "accept-language": "en"}
    return Client(headers=headers, REMOTE_ADDR="198.51.100.9", raise_request_exception=False)


def path_of(route: Route, a: World) -> str:
    """Return the URL for the world's rows, or for number 1 if only test_route_access.py makes such a row."""
    try:
        return route.path(a)
    except KeyError:
        return "/" + route.route.replace("<int:pk>", "1").replace("<path:object_id>", "1")


def ask(client: Client, method: str, path: str) -> Any:
    """Send one call whose changes are rolled back."""
    body = () if method == "GET" else (json.dumps({"text": "x", "user_id": None}), "application/json")
    with transaction.atomic():
        answer = getattr(client, method.lower())(path, *body)
        transaction.set_rollback(True)
    return answer


@pytest.mark.parametrize("kind", ["metrics", "service, metrics", "revoked", "expired"])
def test_a_token_without_the_scope_opens_no_api_route(kind: str, a: World) -> None:
    client, status = caller(kind, a), 403 if "metrics" in kind else 401
    for route in API_ROUTES:
        for method in ("GET", *WRITING):
            assert ask(client, method, route.path(a)).status_code == status, (route.route, method)


@pytest.mark.parametrize("kind", ["read", "one channel, read", "service, read"])
def test_a_token_to_read_writes_nothing(kind: str, a: World) -> None:
    client = caller(kind, a)
    for route in API_ROUTES:
        for method in WRITING:
            answer = ask(client, method, route.path(a))
            assert answer.status_code == 403 and "only read" in answer.json()["error"], (route.route, method)


@pytest.mark.parametrize("kind", ["read", "write", "one channel", "one channel, read", "service", "service, read"])
def test_a_token_reads_what_its_user_may(kind: str, a: World) -> None:
    client, is_admin = caller(kind, a), kind in ("read", "write")
    problems = []
    for route in API_ROUTES:
        answer = ask(client, "GET", route.path(a))
        if answer.status_code == 405:  # a route that is only written to
            continue
        is_refusal = answer.status_code in (403, 404)
        is_for_it = is_admin or route.audience not in OF_ADMINS
        if answer.status_code >= 500 or answer.status_code == 401 or is_refusal == is_for_it:
            problems.append(f"{route.route}: {answer.status_code}")
    assert not problems, "\n".join(problems)


NARROW = ["another channel", "deleted channel", "no channel", "left channel", "foreign service"]


@pytest.mark.parametrize("kind", [*NARROW, "service with another channel"])
def test_a_token_without_the_channel_finds_nothing_of_it(kind: str, a: World) -> None:
    client, problems = caller(kind, a), []
    for route in API_ROUTES:
        for method in ("GET", *WRITING):
            answer = ask(client, method, route.path(a))
            label = f"{method} {route.route}: {answer.status_code}"
            if answer.status_code >= 500 or any(canary in text_of(answer) for canary in CANARIES):
                problems.append(label)
            if route.names_a_row and answer.status_code not in (403, 404, 405):
                problems.append(label)
            if answer.status_code == 200 and kind in NARROW[1:4] and answer.json().get("results"):
                problems.append(f"{label} {answer.json()['results']}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("kind", ["write", "metrics", "service", "service, metrics"])
def test_a_token_opens_no_page(kind: str, a: World) -> None:
    client, problems = caller(kind, a), []
    pages = [route for route in ROUTES if not route.is_api and route.audience not in OPEN_TO_ANYBODY]
    for route in pages:
        if route.audience is not A.SCRAPERS:
            path = path_of(route, a)
            answer = ask(client, "GET", path)
            if not is_refused(answer):
                problems.append(f"{path}: {answer.status_code}")
    assert not problems, "\n".join(problems)


METRICS = {
    **dict.fromkeys(("read", "write", "metrics", "service, metrics"), 200),
    **dict.fromkeys(("one channel", "one channel, read", "service", "service, read", "foreign service"), 403),
    **dict.fromkeys(("deleted channel", "no channel", "left channel", "revoked", "expired"), 403),
}


@pytest.mark.parametrize("kind", METRICS)
def test_metrics_are_for_admins_and_for_metrics_tokens(kind: str, a: World) -> None:
    assert caller(kind, a).get("/metrics").status_code == METRICS[kind]
