"""The client's IP address, decided in one place."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def from_meta(meta: Mapping[str, Any]) -> str:
    """Return the address the request came from; behind the proxy, the one that the proxy itself saw.

    Our proxy replaces or extends X-Forwarded-For, so only the last entry is its own (config/proxy/Caddyfile).
    A header that holds no address there falls back to the peer, so a broken proxy never yields "no address".
    """
    peer = str(meta.get("REMOTE_ADDR", ""))
    if not settings.BEHIND_PROXY:
        return peer
    last = str(meta.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last.strip("[]").partition("%")[0]))
    except ValueError:
        return peer


def from_request(request: HttpRequest) -> str:
    """Return `from_meta` of a request: what django-axes locks together with the user name."""
    return from_meta(request.META)
