"""The request log contains no token, key, phone number or text of a request."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from config.monitoring.log_format import build_formatter
from config.web.request_log import RouteFilter, route_pattern

SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
ADDRESSES = [
    ("get", f"/uapi/chat/addMessage?api_token={SECRET}"),
    ("get", f"/api/v1/contacts/?phone={SECRET}"),
    ("post", f"/webhooks/acebot/{SECRET}/"),
    ("put", f"/webhooks/acebot/{SECRET}/"),
    ("get", f"/handover/{SECRET}/"),
    ("get", f"/no/such/{SECRET}"),
    ("post", f"/login/?next={SECRET}"),
    ("get", f"/chats/?q={SECRET}"),
    ("get", f"/admin/{SECRET}/?q={SECRET}"),
]


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Any:
    """Capture what the console handler from the settings would write, in the given style."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(build_formatter(request.param))
    handler.addFilter(RouteFilter())
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "django", "django_structlog")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG if name != "django" else logging.INFO)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.django_db
@pytest.mark.parametrize("log", ["text", "json"], indirect=True)
@pytest.mark.parametrize(("method", "address"), ADDRESSES)
def test_no_secret_in_a_url_is_logged(log: io.StringIO, method: str, address: str) -> None:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)

    getattr(client, method)(address)

    written = log.getvalue()
    assert SECRET not in written
    assert written or address.startswith("/webhooks/")  # webhooks skip the request log


@pytest.mark.django_db
@pytest.mark.parametrize("log", ["json"], indirect=True)
@pytest.mark.parametrize(("is_behind_proxy", "address"), [(True, "203.0.113.7"), (False, "127.0.0.1")])
def test_headers_of_the_client_do_not_change_the_logged_address(
    log: io.StringIO, settings: Any, is_behind_proxy: bool, address: str
) -> None:
    settings.BEHIND_PROXY = is_behind_proxy
    spoofed = {"HTTP_FORWARDED": "for=198.18.0.9", "HTTP_X_REAL_IP": "198.18.0.9", "HTTP_CLIENT_IP": "198.18.0.9"}

    Client().get("/login/", HTTP_X_FORWARDED_FOR="198.18.0.9, 203.0.113.7", **spoofed)

    written = log.getvalue()
    assert f'"ip": "{address}"' in written
    assert "198.18.0.9" not in written


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/login/", "/login/"),
        (f"/webhooks/acebot/{SECRET}/", "/webhooks/<slug:kind>/<str:token>/"),
        (f"/{SECRET}", "(no such route)"),
    ],
)
def test_route_patterns_are_readable(path: str, route: str) -> None:
    assert route_pattern(path) == route


def test_the_development_server_logs_routes() -> None:
    record = logging.LogRecord(
        "django.server", logging.INFO, "", 0, '"%s" %s %s', (f"GET /login/?next={SECRET} HTTP/1.1", "200", "5"), None
    )
    record.request = object()  # type: ignore[attr-defined]  # the development server puts its socket there

    RouteFilter().filter(record)

    assert record.getMessage() == '"GET /login/" 200 5'


def test_records_of_other_loggers_are_not_changed() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%(a)s", ({"a": 1},), None)
    record.request = HttpRequest()  # type: ignore[attr-defined]
    assert RouteFilter().filter(record)
    assert record.getMessage() == "1"
