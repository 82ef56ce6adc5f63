"""IP address of the client, for limits and logs."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_from_meta(meta: Mapping[str, Any]) -> str:
    """Return the address of the client; behind the proxy, the address that the proxy has seen.

    The proxy replaces or extends X-Forwarded-For, so only the last entry comes from it (config/proxy/Caddyfile).
    Without an address in the header, the peer's address is used, so the result is never empty.
    """
    peer = str(meta.get("REMOTE_ADDR", ""))
    if ":" in peer:
        peer = normalize_address(peer) or peer
    if not settings.BEHIND_PROXY:
        return peer
    return normalize_address(str(meta.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2]) or peer


def rate_limit_network(address: str) -> str:
    """Return the key for limits: an IPv4 address, or the /64 network of an IPv6 address, which is one subscriber's."""
    found = normalize_address(address) if ":" in address else address
    return str(ipaddress.IPv6Network((found, 64), strict=False)) if ":" in found else found or address


def normalize_address(text: str) -> str:
    """Return the address without brackets, port and zone, and mapped IPv4 as IPv4; "" if it is invalid.

    Some proxies add the port, and a dual-stack socket reports IPv4 peers as ::ffff:203.0.113.7.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def address_from_request(request: HttpRequest) -> str:
    """Return the client's address of a request. django-axes locks it together with the user name."""
    return address_from_meta(request.META)
