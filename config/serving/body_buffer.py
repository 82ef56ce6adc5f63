"""Buffering of request bodies: a request takes a worker slot only after its body has arrived completely.

Granian gives each request a thread and has no time limit for bodies (docs/decisions.md), so a few hundred slow senders
would block all workers. Threads that wait for bytes are cheap and many. Slots are few, and each has a database
connection, which is passed from thread to thread. Requests to unknown webhook URLs (``is_refused``) are answered
without reading the body.
"""

import codecs
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import lru_cache
from io import SEEK_END, BytesIO
from typing import IO, Any

from django.conf import settings
from django.db import connections
from django.http import HttpResponseBase
from django.utils.http import parse_header_parameters

from config.accounts import known_device
from config.web import client_address

from .arrival_limits import Arrival, Arrivals, BodyTooSlow, TooManyArrivals
from .concurrency_limit import ConcurrencyLimit, QueueFull
from .connection_slots import ConnectionSlots

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]

MAX_IN_MEMORY = 256 * 1024  # bytes; larger bodies go to a temporary file
CHUNK_BYTES = 64 * 1024
JSON_HEADERS = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
NO_SERVER_HEADER = ("Server", "")  # otherwise granian names itself
MAX_ANONYMOUS_BYTES = 64 * 1024  # of a body without session or token
CSP_REPORT_PATH = "/csp-report/"  # always small, although browsers send cookies with it
MAX_CONTENT_TYPE_LENGTH = 500  # characters
LOGIN_PATHS = ("/login/", "/admin/login/")
# Accepted charsets. Django would use any codec of Python to decode URLs and forms, and some of them always raise.
CHARSETS = frozenset({"utf-8", "utf-8-sig", "ascii", "iso8859-1", "iso8859-15", "cp1251", "cp1252", "koi8-r"})
MAX_API_FILE_BYTES = 20 * 1024 * 1024  # files in calls of /uapi, even if UPLOAD_LIMIT_MB is smaller
MAX_FORM_OVERHEAD = 1024 * 1024  # other fields of a form with a file


class RejectedBody(Exception):
    """The request body is rejected before it reaches Django."""

    def __init__(self, status: str, reason: str, sentence: str, *headers: tuple[str, str]) -> None:
        self.status, self.reason, self.sentence, self.headers = status, reason, sentence, headers


TOO_LARGE = RejectedBody("413 Payload Too Large", "too_large", "The request body is too large.")
INCOMPLETE = RejectedBody("400 Bad Request", "incomplete_body", "The request body ended before it was complete.")
LENGTH_REQUIRED = RejectedBody(
    "411 Length Required", "length_required", "Send the request body with a Content-Length, not in chunks."
)


TOO_MANY_UNFINISHED = RejectedBody(
    "503 Service Unavailable",
    "too_many_unfinished",
    "Too many unfinished requests. Try again.",
    ("Retry-After", "5"),
)
LOGIN_QUEUE_FULL = RejectedBody(
    "503 Service Unavailable", "too_many_sign_ins", "Too many people are signing in. Try again.", ("Retry-After", "5")
)
TOO_SLOW = RejectedBody("408 Request Timeout", "too_slow", "The request body took too long to arrive.")
BAD_CONTENT_TYPE = RejectedBody("400 Bad Request", "bad_content_type", "The Content-Type header cannot be read.")


class BodyBuffer:
    def __init__(self, application: Application, *, slots: int, is_refused: Callable[[str], bool]) -> None:
        self.application, self.is_refused = application, is_refused
        self.arrivals = Arrivals()
        # Checking a password takes a third of a second of CPU time. The limits keep most slots free for webhooks. Users
        # on known devices have their own limit, so they do not queue behind a flood.
        self.logins, self.known_device_logins = (
            ConcurrencyLimit(max_active=1, max_waiting=32),
            ConcurrencyLimit(max_active=1, max_waiting=32),
        )
        self.record_request: Callable[[], None] = lambda: None
        self.is_draining = False  # when set, each response closes its connection
        self.max_bytes = max(settings.UPLOAD_LIMIT_MB * 1024 * 1024, MAX_API_FILE_BYTES) + MAX_FORM_OVERHEAD
        self.slots = ConnectionSlots(slots)

    def __call__(self, scope: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.record_request()
        start_response = _add_headers(
            start_response, NO_SERVER_HEADER, *([("Connection", "close")] if self.is_draining else [])
        )
        if self.is_refused(scope["PATH_INFO"]):
            _count_rejection("unknown_webhook_address")
            start_response("404 Not Found", JSON_HEADERS)
            return [b'{"error": "No such webhook address."}']
        try:
            if not is_readable_content_type(scope.get("CONTENT_TYPE", "")):
                raise BAD_CONTENT_TYPE
            body = self.read_body(scope)
        except RejectedBody as refused:
            return _reject(refused, start_response)
        with closing(body):
            scope["wsgi.input"] = body
            scope.pop("wsgi.file_wrapper", None)  # runserver's, which would replace responses that are files
            try:
                with self.login_slot(scope):
                    return self.call_application(scope, start_response)
            except QueueFull:
                return _reject(LOGIN_QUEUE_FULL, start_response)

    def call_application(self, scope: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.slots.take()
        try:
            response: HttpResponseBase = self.application(scope, start_response)
            if response.streaming:
                return _stream(response)
            with closing(response):
                return [b"".join(response)]
        finally:
            self.slots.release()

    def login_slot(self, scope: dict[str, Any]) -> AbstractContextManager[None]:
        if scope.get("REQUEST_METHOD") != "POST" or not scope["PATH_INFO"].startswith(LOGIN_PATHS):
            return nullcontext()
        is_known = known_device.has_device_cookie(scope.get("HTTP_COOKIE", ""))
        return (self.known_device_logins if is_known else self.logins).slot()

    def read_body(self, scope: dict[str, Any]) -> IO[bytes]:
        """Read the complete body. Raises RejectedBody if it is too large, incomplete, late or of unknown length.

        The web server reports a broken connection or chunk as the end of the body, so completeness is checked here.
        """
        declared = scope.get("CONTENT_LENGTH") or "0"
        is_chunked = "chunked" in scope.get("HTTP_TRANSFER_ENCODING", "").lower()
        if is_chunked and not (settings.BEHIND_PROXY and _has_detectable_end(scope)):
            raise LENGTH_REQUIRED  # only a proxy can check whether the last chunk has arrived
        length = int(declared[:18]) if declared.isascii() and declared.isdigit() else 0
        most = self.max_bytes if is_known_caller(scope) else MAX_ANONYMOUS_BYTES
        if scope["PATH_INFO"].startswith("/webhooks/"):
            most = min(most, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)  # webhooks contain links to files
        if length > most:
            raise TOO_LARGE
        if not is_chunked and not length:
            return BytesIO()
        body = _open_buffer(length if not is_chunked else MAX_IN_MEMORY + 1)
        try:
            peer = str(scope.get("REMOTE_ADDR", ""))
            address = client_address.rate_limit_network(client_address.address_from_meta(scope))
            with self.arrivals.arriving(address, peer=peer) as arrival:
                total = _copy_body(scope["wsgi.input"], body, arrival, most=most, length=None if is_chunked else length)
                if not (_is_complete(scope, body) if is_chunked else total == length):
                    arrival.check_deadline()
                    raise INCOMPLETE
        except TooManyArrivals:
            body.close()
            raise TOO_MANY_UNFINISHED from None
        except BodyTooSlow:
            body.close()
            raise TOO_SLOW from None
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return body


def _reject(refused: RejectedBody, start_response: Callable[..., Any]) -> list[bytes]:
    _count_rejection(refused.reason)
    start_response(refused.status, [*JSON_HEADERS, *refused.headers, ("Connection", "close")])
    return [json.dumps({"error": refused.sentence, "reason": refused.reason}).encode()]


def _count_rejection(reason: str) -> None:
    from bridge.metrics import catalog  # imports models, and this module is imported before Django is set up

    catalog.REJECTED_REQUESTS.count(reason)


def _copy_body(source: Any, body: IO[bytes], arrival: Arrival, *, most: int, length: int | None) -> int:
    """Copy the body up to its declared length or its end, and return the number of bytes."""
    total = 0
    while (length is None or total < length) and (part := source.read(CHUNK_BYTES)):
        arrival.check_deadline()
        total = arrival.add(len(part))
        if total > most:
            raise TOO_LARGE
        body.write(part)
    return total


def is_known_caller(scope: dict[str, Any]) -> bool:
    """Return whether the request seems to come from a signed-in user or a program.

    This is a guess from path and headers. It only keeps large bodies away from public pages such as the login.
    """
    path = scope["PATH_INFO"]
    return path != CSP_REPORT_PATH and (
        path.startswith(("/webhooks/", "/uapi/"))
        or "HTTP_AUTHORIZATION" in scope
        or settings.SESSION_COOKIE_NAME in scope.get("HTTP_COOKIE", "")
    )


@lru_cache(maxsize=256)
def is_readable_content_type(header: str) -> bool:
    """Return whether Django can parse the header. Otherwise it raises outside of all error handlers."""
    if len(header) > MAX_CONTENT_TYPE_LENGTH:
        return False
    try:
        _media_type, parameters = parse_header_parameters(header)
        charset = codecs.lookup(parameters.get("charset") or "utf-8").name
    except (ValueError, LookupError):
        return False
    return charset in CHARSETS and "\0" not in header


def _has_detectable_end(scope: dict[str, Any]) -> bool:
    """Return whether a truncated body of this type is detectable. A truncated form is just a shorter form."""
    return not str(scope.get("CONTENT_TYPE", "")).lower().startswith("application/x-www-form-urlencoded")


def _is_complete(scope: dict[str, Any], body: IO[bytes]) -> bool:
    """Return whether a chunked body is complete: valid JSON, or multipart with its closing boundary."""
    media_type, parameters = parse_header_parameters(str(scope.get("CONTENT_TYPE", "")))
    if media_type == "multipart/form-data":
        closing = f"--{parameters.get('boundary', '')}--".encode()
        body.seek(0, SEEK_END)
        body.seek(max(0, body.tell() - len(closing) - 2))
        return body.read().rstrip().endswith(closing)
    body.seek(0)
    try:
        found = json.load(body)
    except (ValueError, RecursionError):
        return False
    return not isinstance(found, int | float) or isinstance(found, bool)  # 12 can be the beginning of 123


def _add_headers(start_response: Callable[..., Any], *added: tuple[str, str]) -> Callable[..., Any]:
    return lambda status, headers, *more: start_response(status, [*headers, *added], *more)


def _open_buffer(length: int) -> IO[bytes]:
    return BytesIO() if length <= MAX_IN_MEMORY else tempfile.SpooledTemporaryFile(max_size=MAX_IN_MEMORY)


def _stream(response: HttpResponseBase) -> Iterator[bytes]:
    """Stream the response without a slot, at the speed of the client. Queries made meanwhile open their own
    database connection, which is closed here."""
    try:
        yield from response
    finally:
        response.close()
        for connection in connections.all(initialized_only=True):
            if not connection.allow_thread_sharing:  # not a slot's connection: this code can run in any thread
                connection.close()
