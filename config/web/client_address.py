"""The client's IP address, decided in one place."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_from_meta(meta: Mapping[str, Any]) -> str:
    """Return the address the request came from; behind the proxy, the one that the proxy itself saw.

    Our proxy replaces or extends X-Forwarded-For, so only the last entry is its own (config/proxy/Caddyfile).
    A header that holds no address there falls back to the peer, so a broken proxy never yields "no address".
    """
    peer = str(meta.get("REMOTE_ADDR", ""))
    if ":" in peer:
        peer = normalize_address(peer) or peer
    if not settings.BEHIND_PROXY:
        return peer
    return normalize_address(str(meta.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2]) or peer


def rate_limit_network(address: str) -> str:
    """Return the address as limits count it: of IPv6 its /64 network, all of which belongs to one subscriber."""
    found = normalize_address(address) if ":" in address else address
    return str(ipaddress.IPv6Network((found, 64), strict=False)) if ":" in found else found or address


def normalize_address(text: str) -> str:
    """Return the address without brackets, port and zone, IPv4 as IPv4; "" where there is none.

    Some proxies write the port, too, and a socket for both kinds names IPv4 callers ::ffff:203.0.113.7.
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
    """Return `address_from_meta` of a request: what django-axes locks together with the user name."""
    return address_from_meta(request.META)
