"""Connections that check the address they connect to, and the per-thread pools that hold them."""

from __future__ import annotations

import socket
import ssl
import threading
from functools import cache, lru_cache
from typing import Any

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from . import addresses
from .errors import ConnectionFailed
from .url_rules import check_addresses

CONNECT_SECONDS = 3.0


class _CurrentCall(threading.local):
    """State of this thread's call: whether bytes were sent, and the socket that the watchdog has to cut."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}


current_call = _CurrentCall()


class _GuardedConnection:
    """Mixin for urllib3 connections: resolve once, check every address, connect to exactly what was checked."""

    scheme = "http"
    host: str
    port: int
    handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for address in self._checked_addresses()[:4]:
            try:
                connection = socket.create_connection((address, self.port), timeout=CONNECT_SECONDS)
            except OSError as error:
                failure = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # TLS takes over the first descriptor; the watchdog needs another one to cut the connection.
            self.handle = connection.dup()
            current_call.state["handle"] = self.handle
            if current_call.state.get("cut"):  # the deadline passed before there was a socket to cut
                connection.close()
                raise ConnectionFailed("cannot_connect")
            return connection
        raise ConnectionFailed("cannot_connect") from failure

    def _checked_addresses(self) -> list[str]:
        try:
            resolved = addresses.resolve(self.host.strip("[]"), self.port)
        except OSError as error:
            raise ConnectionFailed("name_not_found") from error
        check_addresses(resolved, scheme=self.scheme, port=self.port)
        return resolved

    def request(self, *args: Any, **kwargs: Any) -> None:
        if getattr(self, "sock", None) is None:
            self.connect()  # type: ignore[attr-defined]  # the urllib3 connection this is mixed into has it
        current_call.state.update(handle=self.handle, sent=True)
        super().request(*args, **kwargs)  # type: ignore[misc]  # as above

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # as above
        if self.handle is not None:
            self.handle.close()
            self.handle = None


class _HttpConnection(_GuardedConnection, HTTPConnection):
    scheme = "http"


class _HttpsConnection(_GuardedConnection, HTTPSConnection):
    scheme = "https"


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _GuardedAdapter(HTTPAdapter):
    """The connection pools and TLS verification of requests, without its sessions.

    A session would add cookies, redirects and proxies of the environment. Its preparation of requests and responses
    costs as much as the call itself.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=32, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=tls_context(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def pool_and_path(self, url: str) -> tuple[Any, str]:
        """Return the connection pool of a URL, and the URL's path as it is sent."""
        prepared = _prepare(url)
        return self.get_connection_with_tls_context(prepared, verify=True, proxies={}), prepared.path_url


@lru_cache(maxsize=1024)
def _prepare(url: str) -> requests.PreparedRequest:
    """Quote a URL and encode its host as ASCII, in the way of requests."""
    return requests.Request(method="POST", url=url).prepare()


_tls_lock = threading.Lock()


def tls_context() -> ssl.SSLContext:
    """Return the process's TLS context: the machine's certificate authorities and those of requests.

    The machine's list may contain a company's own authority; a machine without a list has those of requests. Loading
    takes longer than a call, so threads that make their first calls together wait for one load: a hundred parallel
    loads would outlast the leases of their deliveries.
    """
    with _tls_lock:
        return _load_tls_context()


@cache
def _load_tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


_per_thread = threading.local()


def thread_adapter() -> _GuardedAdapter:
    """Return this thread's adapter. requests does not promise that its pools are safe across threads."""
    if not hasattr(_per_thread, "adapter"):
        _per_thread.adapter = _GuardedAdapter()
    adapter: _GuardedAdapter = _per_thread.adapter
    return adapter
