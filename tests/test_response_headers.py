"""Headers of every response: no storage, page permissions, and nothing about the server."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from config.web import response_headers
from tests.factories import boris, token_of, vera
from tests.pages import signed_in
from tests.processes import in_production

pytestmark = pytest.mark.django_db

ANYBODYS = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/login/",
    "/api/v1/conversations/",
    "/api/nothing/",
    "/uapi/users",
    "/uapi/nothing",
    "/webhooks/sandbox/nobodys/",
    "/handover/nothing/",
    "/shared/nothing/",
    "/files/1/",
    "/no-such-page/",
)
PEOPLES = (
    "/",
    "/chats/",
    "/requests/",
    "/windows/",
    "/windows/missed.csv",
    "/templates/",
    "/api/schema/",
    "/api/docs/",
)
ADMINS = ("/admin/", "/admin/jsi18n/", "/admin/accounts/user/", "/admin/templates_registry/template/export/")


@pytest.mark.parametrize("path", ANYBODYS)
def test_a_public_page_is_not_cached(client: Client, path: str) -> None:
    assert_headers(client.get(path))


def test_a_signed_in_users_page_is_not_cached(client: Client) -> None:
    signed_in(client, vera())

    for path in (*PEOPLES, *ADMINS):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert_headers(answer)


def test_an_api_response_is_not_cached(client: Client) -> None:
    assert_headers(client.get("/api/v1/conversations/", headers=token_of(boris())))


def assert_headers(answer: Any) -> None:
    assert "no-store" in answer["Cache-Control"], answer.request["PATH_INFO"]
    assert answer["Permissions-Policy"] == response_headers.PERMISSIONS_POLICY


def test_static_files_can_be_cached(client: Client) -> None:
    assert "no-store" not in client.get("/static/okno.css")["Cache-Control"]


def test_cookies_are_limited_to_this_host_with_https(settings: Any) -> None:
    names = in_production("[getattr(s, name) for name in dir(s) if name.endswith('COOKIE_NAME')]")

    assert len(names) == 4 and all(name.startswith("__Host-") for name in names)
    assert in_production("[s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.LANGUAGE_COOKIE_SECURE]") == [True] * 3
    for name in ("SESSION", "CSRF", "LANGUAGE"):  # otherwise a browser rejects a cookie with such a name
        assert (getattr(settings, f"{name}_COOKIE_DOMAIN"), getattr(settings, f"{name}_COOKIE_PATH")) == (None, "/")


def test_production_accepts_only_its_own_name_except_for_monitoring(client: Client, settings: Any) -> None:
    assert in_production("s.ALLOWED_HOSTS") == ["okno.example"]
    settings.ALLOWED_HOSTS = ["okno.example"]

    found = {
        path: client.get(path, headers={"host": "127.0.0.1:8000"}).status_code
        for path in ("/health/live", "/health/ready", "/metrics", "/login/", "/api/v1/conversations/")
    }

    assert found == {
        "/health/live": 200,
        "/health/ready": 503,  # no worker in this test
        "/metrics": 200,
        "/login/": 400,
        "/api/v1/conversations/": 400,
    }
