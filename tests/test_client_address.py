"""Login lockout by user name and client address, as the shipped proxy reports the address."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from config.web import client_address
from tests.factories import UserFactory

PROXY = "172.18.0.5"
# As recorded from Caddy 2.6.2 with the shipped Caddyfile (tests/test_proxy.py runs the real one if installed):
# X-Forwarded-For and X-Forwarded-Proto of the client are replaced, names with underscores are removed, Forwarded is
# not.
CADDY = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "okno.example", "REMOTE_ADDR": PROXY}


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "address"),
    [
        (True, "203.0.113.7", "203.0.113.7"),
        (True, "198.18.0.1, 203.0.113.7", "203.0.113.7"),
        (True, "198.18.0.1,203.0.113.7 ", "203.0.113.7"),
        (True, "2001:DB8::7", "2001:db8::7"),
        (True, "[2001:db8::7]", "2001:db8::7"),
        (True, "fe80::1%eth0", "fe80::1"),
        (True, "203.0.113.7:49152", "203.0.113.7"),
        (True, "[2001:db8::7]:49152", "2001:db8::7"),
        (True, "::ffff:203.0.113.7", "203.0.113.7"),
        (True, "203.0.113.7:x:y", PROXY),
        (True, "unknown", PROXY),
        (True, "203.0.113.7,", PROXY),
        (True, "", PROXY),
        (False, "203.0.113.7", PROXY),
    ],
)
def test_address(settings: object, behind_proxy: bool, forwarded: str, address: str) -> None:
    settings.BEHIND_PROXY = behind_proxy  # type: ignore[attr-defined]  # pytest-django's settings
    assert client_address.address_from_meta({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": forwarded}) == address


def test_a_dual_stack_socket_reports_ipv4_callers_as_ipv4() -> None:
    assert client_address.address_from_meta({"REMOTE_ADDR": "::ffff:203.0.113.7"}) == "203.0.113.7"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::7", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a:device", "a:device"),
    ],
)
def test_limits_count_ipv6_by_network_and_ipv4_by_address(address: str, network: str) -> None:
    assert client_address.rate_limit_network(address) == network


@pytest.mark.django_db
def test_a_stranger_cannot_lock_out_a_user(client: Client, settings: object) -> None:
    settings.BEHIND_PROXY = True  # type: ignore[attr-defined]
    UserFactory(username="sam", password="right and long")
    stranger = CADDY | {"HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    sam = CADDY | {"HTTP_X_FORWARDED_FOR": "198.51.100.9"}

    for _ in range(5):
        client.post("/login/", {"username": "sam", "password": "wrong"}, **stranger)

    assert client.post("/login/", {"username": "sam", "password": "right and long"}, **stranger).status_code == 429
    assert client.post("/login/", {"username": "sam", "password": "right and long"}, **sam).status_code == 302


def test_the_shipped_proxy_configuration() -> None:
    """It drops names with underscores, never retries, and never excludes a web process (docs/decisions.md)."""
    lines = [line.split("#")[0].strip() for line in (Path(settings.BASE_DIR) / "config/proxy/Caddyfile").open()]
    words = {line.split()[0] for line in lines if line}

    assert "request_header -*_*" in lines
    assert "request_buffers" in words
    assert not words & {"lb_try_duration", "lb_retries", "fail_duration", "max_fails", "unhealthy_status"}
