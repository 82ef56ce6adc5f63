"""Which URLs may be called: scheme, port, host name and the addresses behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import SplitResult, urlsplit

import requests
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from . import addresses
from .errors import ForbiddenAddress, HostNotFound


@dataclass(frozen=True)
class WebAddress:
    """A web address as it is called. ``url`` is quoted, and its host is ASCII, as ``requests`` prepares them."""

    url: str
    scheme: str
    host: str
    port: int

    @cached_property
    def is_numeric(self) -> bool:
        """Whether the host is an IP address."""
        try:
            ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return False
        return True


def check_url(url: str) -> None:
    """Check a URL and the addresses that its host name resolves to.

    Raises ForbiddenAddress with a sentence for the admin. Raises HostNotFound, which is no reason against saving the
    URL, if the name does not resolve now. Every call checks again, on the address it connects to.
    """
    target = parse_url(url)
    try:
        resolved = addresses.resolve(target.host, target.port)
    except OSError:
        _check_unresolved(target)
        host = urlsplit(url).hostname  # as it was typed
        raise HostNotFound(_("The name “%(host)s” cannot be found.") % {"host": host}) from None
    check_addresses(resolved, scheme=target.scheme, port=target.port)


def unresolved_warning(url: str) -> str:
    """Return a warning for a URL whose host name does not resolve now; empty if it does.

    Raises ForbiddenAddress for a URL that may never be called.
    """
    try:
        check_url(url)
    except HostNotFound as problem:
        return _("%(problem)s The address is saved, but nothing can be sent to it until the name is found.") % {
            "problem": problem
        }
    return ""


@lru_cache(maxsize=1024)
def parse_url(url: str) -> WebAddress:
    """Return the address that a URL means. Raises ForbiddenAddress if it is no plain web address."""
    if any(ord(character) <= 32 or character == "\\" for character in url):
        raise ForbiddenAddress(_("The address must not contain spaces or backslashes."))
    try:
        _check_parts(urlsplit(url))
        prepared = str(requests.Request(method="POST", url=url).prepare().url)
        parts = urlsplit(prepared)
        _check_parts(parts)
        port = parts.port
    except (ValueError, requests.RequestException):
        raise ForbiddenAddress(_("This is not a web address.")) from None
    default = 443 if parts.scheme == "https" else 80
    return WebAddress(
        url=prepared, scheme=parts.scheme, host=str(parts.hostname), port=default if port is None else port
    )


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in ("https", "http"):
        raise ForbiddenAddress(_("The address must begin with https://."))
    if not parts.hostname:
        raise ForbiddenAddress(_("This is not a web address."))
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddress(_("The address must not contain a user name or password."))


def check_addresses(resolved: Iterable[str], *, scheme: str, port: int) -> None:
    """Raise ForbiddenAddress unless every address of a host may be called with this scheme and port."""
    verdicts = [addresses.judge_address(address) for address in resolved]
    if any(verdict.listed_private for verdict in verdicts) and port in _server_ports():
        raise ForbiddenAddress(_("Port %(port)s belongs to the portal's own database or broker.") % {"port": port})
    if not verdicts or not all(verdict.allowed for verdict in verdicts):
        raise ForbiddenAddress(
            _("The address is private: such addresses are refused unless RELAY_ALLOWED_PRIVATE_CIDRS lists them.")
        )
    if all(verdict.listed_private for verdict in verdicts):
        return
    _check_public(scheme, port)


def _check_unresolved(target: WebAddress) -> None:
    """Refuse a URL that would be refused whatever its host name resolves to."""
    try:
        target.host.encode("idna")
    except UnicodeError:
        raise ForbiddenAddress(_("This is not a web address.")) from None
    if not addresses.allowed_private_networks():
        _check_public(target.scheme, target.port)


def _check_public(scheme: str, port: int) -> None:
    if scheme != "https":
        raise ForbiddenAddress(
            _("The address must begin with https://: without encryption, others could read clients' messages.")
        )
    if port not in settings.RELAY_ALLOWED_PORTS:
        raise ForbiddenAddress(_("Port %(port)s is not among the allowed ports.") % {"port": port})


def _server_ports() -> set[int]:
    """Return the ports of our PostgreSQL and Redis, which may be in an allowed private range."""
    return {int(settings.DATABASES["default"].get("PORT") or 5432), urlsplit(settings.REDIS_URL).port or 6379}
