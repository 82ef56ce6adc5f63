"""The one door to the outside: every call the portal makes passes here.

What it holds (pitfalls of calling URLs that somebody typed in):
- the *resolved* address is judged, at every connection, and exactly that address is connected to; a name with one
  forbidden address among several is refused whole;
- redirects are never followed, proxies and .netrc of the environment never used;
- the whole exchange has a deadline, also against an answer that drips header by header, and the answer is cut.

``requests-hardened`` was considered (docs/decisions.md): it has no list of allowed private ranges, no port policy,
and no deadline over dripping headers.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import IO, Any
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from . import timeouts
from .codecs.request_redaction import redact_echo
from .providers.base import ApiRequest, ApiResponse

CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0
DEADLINE_SECONDS = 20.0  # from the first byte out to the last one in
ANSWER_CAP_BYTES = 64 * 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Never reachable, whatever is allowed: addresses where clouds keep credentials, and what is no single host.
NEVER = [
    ipaddress.ip_network(text)
    for text in (
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"),
        *("168.63.129.16/32", "0.0.0.0/8", "::/128", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
    )
]
# IPv6 ranges that embed an IPv4 address, and the bit at which it begins.
EMBEDDING = [
    (ipaddress.IPv6Network(text), position)
    for text, position in (
        ("::/96", 96),  # IPv4-compatible
        ("::ffff:0:0:0/96", 96),  # IPv4-translated
        ("64:ff9b::/96", 96),  # NAT64, RFC 6052
        ("64:ff9b:1::/48", 96),  # NAT64 for local use, with the length of prefix that is common
        ("2002::/16", 16),  # 6to4
    )
]
# Not public. ``ipaddress.is_global`` alone is no filter: on 3.11 it calls several of these global.
PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::/96"),
        *("::ffff:0:0:0/96",),
        *("64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        *("5f00::/16", "fc00::/7", "fec0::/10"),
    )
]


class Forbidden(Exception):
    """The call may not be made. Its text is a sentence for the admin."""


class NameNotFound(Forbidden):
    """The name in the address cannot be found now. It may be tomorrow."""


class NotSent(Exception):
    """The connection never came about: nothing was delivered. ``reason`` is a code of the catalogue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutcomeUnknown(Exception):
    """The request went out and no answer came: nobody can say whether it was taken."""


@dataclass(frozen=True)
class Verdict:
    """May this address be called, and may it be called without TLS and on any port?"""

    allowed: bool
    listed_private: bool = False


def judge_address(text: str) -> Verdict:
    """Judge one resolved address (never a host name) against the rules and RELAY_ALLOWED_PRIVATE_CIDRS."""
    address: Address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(one in network for one in _all_forms(address) for network in NEVER if network.version == one.version):
        return Verdict(allowed=False)
    if any(address in network for network in _allowed_private() if network.version == address.version):
        return Verdict(allowed=True, listed_private=True)
    private = any(address in network for network in PRIVATE if network.version == address.version)
    return Verdict(allowed=not private and address.is_global)


def _all_forms(address: Address) -> Iterator[Address]:
    """Yield the address and each IPv4 address that an IPv6 one may lead to through a translator or tunnel."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        for network, position in EMBEDDING:
            if address in network:
                yield ipaddress.IPv4Address(int(address) >> (96 - position) & 0xFFFFFFFF)
        if address.teredo:
            yield from address.teredo


def _allowed_private() -> list[Network]:
    return list(_networks(tuple(settings.RELAY_ALLOWED_PRIVATE_CIDRS)))


@cache
def _networks(texts: tuple[str, ...]) -> list[Network]:
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def check_url(url: str) -> None:
    """Refuse a Redirect URL with a sentence, or say nothing. Resolves the name; raises Forbidden.

    Checked when it is saved and again, on the connected address, at every call. A name that cannot be found raises
    NameNotFound: that may pass, so it is no reason against saving.
    """
    parts, port = _parsed(url)
    assert parts.hostname is not None
    try:
        addresses = resolve(parts.hostname, port)
    except OSError:
        _judge_unresolved(parts, port)
        raise NameNotFound(_("The name “%(host)s” cannot be found.") % {"host": parts.hostname}) from None
    _judge_all(addresses, scheme=parts.scheme, port=port)


def warning_for(url: str) -> str:
    """Return the sentence to show when an address is saved that cannot be called now; empty if it can.

    Raises Forbidden for an address that may never be called.
    """
    try:
        check_url(url)
    except NameNotFound as problem:
        return _("%(problem)s It was saved; nothing can be sent there until the name is found.") % {"problem": problem}
    return ""


def _judge_unresolved(parts: SplitResult, port: int) -> None:
    """Refuse what would be refused wherever the name leads."""
    try:
        str(parts.hostname).encode("idna")
    except UnicodeError:
        raise Forbidden(_("This is not a web address.")) from None
    if not _allowed_private():
        _judge_public(parts.scheme, port)


def _parsed(url: str) -> tuple[SplitResult, int]:
    if any(ord(character) <= 32 or character == "\\" for character in url):
        raise Forbidden(_("The address must not hold spaces or backslashes."))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Forbidden(_("This is not a web address.")) from None
    if parts.scheme not in ("https", "http"):
        raise Forbidden(_("The address must begin with https://."))
    if not parts.hostname:
        raise Forbidden(_("This is not a web address."))
    if parts.username is not None or parts.password is not None:
        raise Forbidden(_("The address must not hold a user name or password."))
    return parts, port if port is not None else (443 if parts.scheme == "https" else 80)


def _judge_all(addresses: Iterable[str], *, scheme: str, port: int) -> None:
    verdicts = [judge_address(address) for address in addresses]
    if any(verdict.listed_private for verdict in verdicts) and port in _own_ports():
        raise Forbidden(_("Port %(port)s belongs to the portal's own database or broker.") % {"port": port})
    if not verdicts or not all(verdict.allowed for verdict in verdicts):
        raise Forbidden(
            _("The address is private: such addresses are refused unless RELAY_ALLOWED_PRIVATE_CIDRS lists them.")
        )
    if all(verdict.listed_private for verdict in verdicts):
        return
    _judge_public(scheme, port)


def _judge_public(scheme: str, port: int) -> None:
    if scheme != "https":
        raise Forbidden(
            _("The address must begin with https://: without it, clients' messages could be read on the way.")
        )
    if port not in settings.RELAY_ALLOWED_PORTS:
        raise Forbidden(_("Port %(port)s is not among the allowed ports.") % {"port": port})


def _own_ports() -> set[int]:
    """Return the ports of our PostgreSQL and Redis, which may lie in an allowed private range."""
    return {int(settings.DATABASES["default"].get("PORT") or 5432), urlsplit(settings.REDIS_URL).port or 6379}


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a name, in the system's order. Raises OSError. Tests replace this."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or longer than 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


# --- connections that go only where the guard lets them --------------------------------------------------


class _Exchange(threading.local):
    """This thread's call in progress: did bytes go out, and which socket must the watchdog cut?"""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}


_exchange = _Exchange()


class _Guarded:
    """Mixin for urllib3 connections: resolve once, judge all, connect to exactly what was judged."""

    scheme = "http"
    host: str
    port: int
    handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        addresses = self._addresses()
        failure: OSError | None = None
        for address in addresses[:4]:
            try:
                connection = socket.create_connection((address, self.port), timeout=CONNECT_SECONDS)
            except OSError as error:
                failure = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A second descriptor: TLS takes the first one over, and the watchdog must still be able to cut the line.
            self.handle = connection.dup()
            _exchange.state["handle"] = self.handle
            if _exchange.state.get("cut"):  # the time was up before there was anything to cut
                connection.close()
                raise NotSent("cannot_connect")
            return connection
        raise NotSent("cannot_connect") from failure

    def _addresses(self) -> list[str]:
        try:
            addresses = resolve(self.host.strip("[]"), self.port)
        except OSError as error:
            raise NotSent("name_not_found") from error
        _judge_all(addresses, scheme=self.scheme, port=self.port)
        return addresses

    def request(self, *args: Any, **kwargs: Any) -> None:
        if getattr(self, "sock", None) is None:
            self.connect()  # type: ignore[attr-defined]  # the urllib3 connection this is mixed into has it
        _exchange.state.update(handle=self.handle, sent=True)
        super().request(*args, **kwargs)  # type: ignore[misc]  # as above

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # as above
        if self.handle is not None:
            self.handle.close()
            self.handle = None


class _Http(_Guarded, HTTPConnection):
    scheme = "http"


class _Https(_Guarded, HTTPSConnection):
    scheme = "https"


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """requests' ground without its surface: the pools, and TLS checked as requests does.

    A session would add cookies, redirects and the environment; and preparing a request anew, and dressing the answer,
    cost as much as the call itself.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=32, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=authorities(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def line_to(self, url: str) -> tuple[Any, str]:
        """The pool that an address belongs to, and the path as it goes over the wire."""
        prepared = _prepared(url)
        return self.get_connection_with_tls_context(prepared, verify=True, proxies={}), prepared.path_url


@lru_cache(maxsize=1024)
def _prepared(url: str) -> requests.PreparedRequest:
    """An address quoted and put into ASCII as requests does it."""
    return requests.Request(method="POST", url=url).prepare()


def authorities() -> ssl.SSLContext:
    """Whom TLS believes: the machine's own list (with a company's own authority in it), and that of requests, for a
    machine that has none. Read once a process, also where many threads make their first call at once: it takes longer
    than the call, and what a hundred of them would read together would outlast their leases."""
    with _reading:
        return _authorities()


_reading = threading.Lock()


@cache
def _authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


_local = threading.local()


def _adapter() -> _Adapter:
    """One a thread: requests' connection pools are not promised to be safe across threads."""
    if not hasattr(_local, "adapter"):
        _local.adapter = _Adapter()
    adapter: _Adapter = _local.adapter
    return adapter


def send(
    request: ApiRequest,
    *,
    most_bytes: int = ANSWER_CAP_BYTES,
    seconds: float | None = None,
    into: IO[bytes] | None = None,
) -> ApiResponse:
    """Make one call within ``seconds`` (else DEADLINE_SECONDS); any HTTP answer is returned.

    Raises Forbidden, NotSent, OutcomeUnknown. The body is cut at ``most_bytes``. With ``into`` it goes there piece by
    piece, and the answer has none.
    """
    _parsed(request.url)
    state: dict[str, Any] = {"sent": False, "handle": None}
    _exchange.state = state
    timeouts.watch(state, seconds=seconds or DEADLINE_SECONDS)
    try:
        pool, path = _adapter().line_to(request.url)
        answer = pool.urlopen(
            request.method,
            path,
            body=request.body,
            headers={"user-agent": "Okno", "accept-encoding": "identity", **request.headers},
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        if state.get("cut"):
            raise OutcomeUnknown  # a head that broke off reads like a whole one
        if answer.status < 200:
            # "102 Processing", "103 Early Hints": http.client takes them for the answer, and the real one follows.
            answer.close()
            raise OutcomeUnknown
        return ApiResponse(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=_without_echo(request, _read(answer, most_bytes)) if into is None else _copy(answer, most_bytes, into),
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if state["sent"]:
            raise OutcomeUnknown from error
        raise NotSent("tls" if isinstance(error, urllib3.exceptions.SSLError) else "cannot_connect") from error
    finally:
        timeouts.let_go(state)


def _without_echo(request: ApiRequest, body: bytes) -> bytes:
    """Overwrite the request's own credentials in its answer: some APIs repeat the request in their errors."""
    return redact_echo(body, url=request.url, headers=request.headers, sent=request.body)


def _read(answer: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    """The answer's first bytes, undecoded (no gzip bombs). A body that breaks off is as good as what came of it."""
    body = b""
    try:
        body = answer.read(most_bytes, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        answer.close()
    if len(body) >= most_bytes:
        answer.close()
    answer.release_conn()
    return body


def _copy(answer: urllib3.BaseHTTPResponse, most_bytes: int, into: IO[bytes]) -> bytes:
    """As ``_read``, without holding it all: whoever wants the file knows how long it must be."""
    left = most_bytes
    try:
        while left > 0 and (piece := answer.read(min(left, 65_536), decode_content=False)):
            into.write(piece)
            left -= len(piece)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        answer.close()
    if left <= 0:
        answer.close()
    answer.release_conn()
    return b""
