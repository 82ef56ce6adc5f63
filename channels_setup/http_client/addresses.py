"""Which IP addresses may be called."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Refused whatever RELAY_ALLOWED_PRIVATE_CIDRS says: metadata services of clouds (they hand out credentials),
# and ranges that are no single host.
NEVER_ALLOWED = [
    ipaddress.ip_network(text)
    for text in (
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"),
        *("168.63.129.16/32", "0.0.0.0/8", "::/128", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
    )
]
# IPv6 ranges that embed an IPv4 address, and the bit at which it begins.
EMBEDDED_IPV4 = [
    (ipaddress.IPv6Network(text), position)
    for text, position in (
        ("::/96", 96),  # IPv4-compatible
        ("::ffff:0:0:0/96", 96),  # IPv4-translated
        ("64:ff9b::/96", 96),  # NAT64, RFC 6052
        ("64:ff9b:1::/48", 96),  # NAT64 for local use, with the common prefix length
        ("2002::/16", 16),  # 6to4
    )
]
# Refused unless listed. ``ipaddress.is_global`` is not enough: Python 3.11 calls several of these global.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::/96"),
        *("::ffff:0:0:0/96",),
        *("64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        *("5f00::/16", "fc00::/7", "fec0::/10"),
    )
]


@dataclass(frozen=True)
class AddressVerdict:
    """Whether an address may be called. ``listed_private``: it may be called without TLS and on any port, too."""

    allowed: bool
    listed_private: bool = False


def judge_address(text: str) -> AddressVerdict:
    """Judge one resolved IP address (never a host name) by the rules and RELAY_ALLOWED_PRIVATE_CIDRS."""
    return _judge(text, tuple(settings.RELAY_ALLOWED_PRIVATE_CIDRS))


@lru_cache(maxsize=1024)  # each call of a destination judges the same address
def _judge(text: str, allowed_private: tuple[str, ...]) -> AddressVerdict:
    address: Address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(
        form in network
        for form in _embedded_forms(address)
        for network in NEVER_ALLOWED
        if network.version == form.version
    ):
        return AddressVerdict(allowed=False)
    if any(address in network for network in _parse_networks(allowed_private) if network.version == address.version):
        return AddressVerdict(allowed=True, listed_private=True)
    private = any(address in network for network in NOT_PUBLIC if network.version == address.version)
    return AddressVerdict(allowed=not private and address.is_global)


def _embedded_forms(address: Address) -> Iterator[Address]:
    """Yield the address and each IPv4 address that a translator or tunnel may forward an IPv6 address to."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        for network, position in EMBEDDED_IPV4:
            if address in network and not address.is_loopback:
                yield ipaddress.IPv4Address(int(address) >> (96 - position) & 0xFFFFFFFF)
        if address.teredo:
            yield from address.teredo


def allowed_private_networks() -> list[Network]:
    return list(_parse_networks(tuple(settings.RELAY_ALLOWED_PRIVATE_CIDRS)))


@cache
def _parse_networks(texts: tuple[str, ...]) -> list[Network]:
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host name, in the system's order. Raises OSError. Tests replace this function."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or longer than 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
