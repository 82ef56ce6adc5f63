"""One HTTP exchange as a libcurl transfer: its options, its response, and what its error means."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import IO, Any

import pycurl

from channels_setup.codecs.request_redaction import redact_echo
from channels_setup.providers.base import ApiRequest, ApiResponse

from .addresses import judge_address
from .callbacks import keep_problem
from .certificates import authorities_path
from .errors import ConnectionFailed, ForbiddenAddress, NoResponse
from .kept_connections import KeptConnections
from .url_rules import parse_url

CONNECT_SECONDS = 3.0
MAX_RESPONSE_BYTES = 64 * 1024
NO_REQUEST = ApiRequest(method="", url="", headers={}, body=b"")

STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?: |$)")
LINE_END = re.compile(r"[\r\n\0]")
TLS_ERRORS = {
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_ISSUER_ERROR,
    pycurl.E_SSL_INVALIDCERTSTATUS,
}
# Set once per handle. The others are set for each call.
FIXED_OPTIONS: list[tuple[int, Any]] = [
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.REDIR_PROTOCOLS, 0),
    (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
    (pycurl.FOLLOWLOCATION, 0),
    (pycurl.PROXY, ""),  # not even one that the environment names
    (pycurl.NOPROXY, "*"),
    (pycurl.NETRC, pycurl.NETRC_IGNORED),
    (pycurl.PATH_AS_IS, 1),
    (pycurl.NOSIGNAL, 1),
    (pycurl.TCP_NODELAY, 1),
    (pycurl.SSL_VERIFYPEER, 1),
    (pycurl.SSL_VERIFYHOST, 2),
    (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
]


class Transfer:
    """One exchange. ``deadline``: by ``time.monotonic()``, for everything from the name to the last byte.

    Raises ForbiddenAddress for a URL that may never be called.
    """

    def __init__(
        self, request: ApiRequest, *, seconds: float, max_bytes: int = MAX_RESPONSE_BYTES, into: IO[bytes] | None = None
    ) -> None:
        self.request = request
        self.target = parse_url(request.url)
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.problem: BaseException | None = None  # of a callback
        self.needs_new_connection = False  # nothing was sent, because the kept connection was of no use
        self._max_bytes = max_bytes
        self._into = into
        self._resolved: set[str] = set()
        self._pinned: list[str] = []  # the host's addresses, as libcurl reads them
        self._unsent = memoryview(request.body or b"")
        self._sent = False
        self._forbidden = False
        self._socket_problem: OSError | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._has_headers = False  # of the final response
        self._body = bytearray()
        self._size = 0

    def configure(self, handle: pycurl.Curl, resolved: list[str], kept: KeptConnections) -> None:
        """Set the options of this call on a handle. The call connects to one of the ``resolved`` addresses."""
        target, self._kept = self.target, kept
        self._resolved = {_normalize(address) for address in resolved}
        if not target.is_numeric:
            self._pinned = [f"{target.host}:{target.port}:{','.join(_bracketed(text) for text in resolved)}"]
        handle.setopt(pycurl.URL, target.url)
        handle.setopt(pycurl.HTTPHEADER, build_header_lines(self.request.headers))
        self._set_connection(handle, is_new=self.request.method != "GET" and not self.request.body)
        handle.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        handle.setopt(pycurl.PREREQFUNCTION, self._check_connection)
        handle.setopt(pycurl.HEADERFUNCTION, self._receive_header)
        handle.setopt(pycurl.WRITEFUNCTION, self._receive_body)
        if target.scheme == "https":
            handle.setopt(pycurl.CAINFO, authorities_path())
        if self.request.body or self.request.method in ("POST", "PUT", "PATCH"):
            # Read by a function that cannot rewind: libcurl would repeat a request whose body it can send again when a
            # kept connection breaks after sending, although the other side may have accepted it.
            handle.setopt(pycurl.POST, 1)
            handle.setopt(pycurl.READFUNCTION, self._send_body)
            handle.setopt(pycurl.POSTFIELDSIZE_LARGE, len(self._unsent))
        else:
            handle.setopt(pycurl.HTTPGET, 1)
        handle.setopt(pycurl.CUSTOMREQUEST, self.request.method)

    def use_new_connection(self, handle: pycurl.Curl) -> None:
        """Set the options for making the call again, after ``needs_new_connection``."""
        self.needs_new_connection = False
        self._set_connection(handle, is_new=True)

    def extend(self, handle: pycurl.Curl, *, until: float) -> None:
        """Move the deadline of a running call, if it is earlier."""
        if until > self.deadline:
            self.deadline = until
            handle.setopt(pycurl.TIMEOUT_MS, int((until - self.began) * 1000))

    def extend_connecting(self, handle: pycurl.Curl, *, until: float) -> None:
        """Leave time until then for connecting, if that is more than it has."""
        seconds = max(until - self.began, CONNECT_SECONDS)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, int(seconds * 1000))

    def _set_connection(self, handle: pycurl.Curl, *, is_new: bool) -> None:
        """Set which connection the call may use, and its addresses and time.

        Requests without a body use a new connection, as libcurl would repeat them when a kept one breaks. All calls
        share libcurl's table of names, in which a later call may have written other addresses of this host.
        """
        handle.setopt(pycurl.RESOLVE, self._pinned)
        handle.setopt(pycurl.FRESH_CONNECT, int(is_new))
        self.began = time.monotonic()  # libcurl counts from here
        handle.setopt(pycurl.TIMEOUT_MS, max(int((self.deadline - self.began) * 1000), 1))
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_SECONDS * 1000))

    def read_result(self, handle: pycurl.Curl, error: int) -> ApiResponse:
        """Return the response. Raises ForbiddenAddress, ConnectionFailed, NoResponse, or OSError of a full disk.

        A response whose body is cut off is returned as it is: the status counts.
        """
        if self._has_headers:
            if self.problem is not None:  # the body could not be written
                raise self.problem
            body = redact_echo(
                bytes(self._body), url=self.request.url, headers=self.request.headers, sent=self.request.body
            )
            return ApiResponse(status=self._status, headers=self._headers, body=body, is_complete=not error)
        if self._sent or handle.getinfo(pycurl.REQUEST_SIZE):
            raise NoResponse
        if self._forbidden:
            raise ForbiddenAddress
        if error == pycurl.E_COULDNT_RESOLVE_HOST:
            raise ConnectionFailed("name_not_found")
        raise ConnectionFailed("tls" if error in TLS_ERRORS else "cannot_connect") from self._socket_problem

    def release(self) -> None:
        """Drop the request and the response. The handle, which is used again, refers to this object until then."""
        self.request = NO_REQUEST
        self._unsent, self._body, self._into = memoryview(b""), bytearray(), None

    # --- called by libcurl -----------------------------------------------------------------------------

    @keep_problem(pycurl.SOCKET_BAD)
    def _open_socket(self, _purpose: int, peer: Any) -> Any:
        """Open the connection's socket. The address is the one that libcurl connects to, so it is judged again."""
        address, port = peer.addr[:2]
        is_expected = _normalize(address) in self._resolved and port == self.target.port
        if not is_expected or not judge_address(address).allowed:
            self._forbidden = True
            return pycurl.SOCKET_BAD
        try:
            return open_socket(peer)
        except OSError as problem:  # too many open files, or a machine without IPv6: another address may do
            self._socket_problem = problem
            return pycurl.SOCKET_BAD

    @keep_problem(pycurl.PREREQFUNC_ABORT)
    def _check_connection(self, address: str, own_address: str, port: int, own_port: int) -> int:
        """Refuse a kept connection that has ended, or that leads to a former address of the host."""
        has_ended = self._kept.has_ended((address, port, own_address, own_port))
        self.needs_new_connection = has_ended or _normalize(address) not in self._resolved
        return int(pycurl.PREREQFUNC_ABORT if self.needs_new_connection else pycurl.PREREQFUNC_OK)

    @keep_problem(pycurl.READFUNC_ABORT)
    def _send_body(self, size: int) -> bytes:
        self._sent = True
        piece, self._unsent = bytes(self._unsent[:size]), self._unsent[size:]
        return piece

    @keep_problem(-1)
    def _receive_header(self, line: bytes) -> None:
        if self._has_headers:
            return  # a trailer
        text = line.decode("latin-1").rstrip("\r\n")
        if text.startswith("HTTP/"):
            found = STATUS_LINE.match(text)
            self._headers, self._status = {}, int(found[1]) if found else 0
        elif text:
            name, _colon, value = text.partition(":")
            name, value = name.strip().lower(), value.strip()
            self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value
        else:
            self._has_headers = self._status >= 200  # others, for example 103 Early Hints, precede the response

    @keep_problem(-1)
    def _receive_body(self, data: bytes) -> int | None:
        room = self._max_bytes - self._size
        piece = data[:room]
        self._size += len(piece)
        if self._into is None:
            self._body += piece
        else:
            self._into.write(piece)
        return None if len(data) < room else -1  # ends the exchange


def open_socket(target: Any) -> Any:
    """Return an unconnected socket for an address that was judged. The tests' guard replaces this function."""
    return socket.socket(target.family, target.socktype, target.protocol)


def build_header_lines(headers: Mapping[str, str]) -> list[bytes]:
    """Return the header lines of a request: these headers, ours, and none of libcurl's own.

    Raises ValueError for a name or value that would end its line.
    """
    lines = {"user-agent": "Okno", "accept-encoding": "identity"}
    lines |= {name.lower(): value for name, value in headers.items()}
    for name, value in lines.items():
        if LINE_END.search(name) or LINE_END.search(value) or ":" in name:
            raise ValueError(f"The header {name!r} contains a line break.")
    removed = [f"{name}:" for name in ("accept", "content-type", "expect") if name not in lines]
    texts = [f"{name}: {value}" if value.strip() else f"{name};" for name, value in lines.items()]
    return [text.encode("latin-1") for text in (*texts, *removed)]


@lru_cache(maxsize=4096)
def _normalize(address: str) -> str:
    return str(ipaddress.ip_address(address.partition("%")[0]))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
