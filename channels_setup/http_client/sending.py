"""Send one request and read its response."""

from __future__ import annotations

from typing import IO, Any

import requests
import urllib3

from channels_setup.codecs.request_redaction import redact_echo
from channels_setup.providers.base import ApiRequest, ApiResponse

from . import watchdog
from .connections import CONNECT_SECONDS, current_call, thread_adapter
from .errors import ConnectionFailed, NoResponse
from .url_rules import parse_url

READ_SECONDS = 15.0
DEADLINE_SECONDS = 20.0  # from the first byte sent to the last byte received
MAX_RESPONSE_BYTES = 64 * 1024


def send(
    request: ApiRequest,
    *,
    max_bytes: int = MAX_RESPONSE_BYTES,
    seconds: float | None = None,
    into: IO[bytes] | None = None,
) -> ApiResponse:
    """Make one call within ``seconds`` (default DEADLINE_SECONDS) and return the response, whatever its status.

    The body is cut at ``max_bytes``. With ``into``, the body is written there in pieces and the returned body is empty.
    Raises ForbiddenAddress, ConnectionFailed or NoResponse.
    """
    parse_url(request.url)
    state: dict[str, Any] = {"sent": False, "handle": None}
    current_call.state = state
    watchdog.start_deadline(state, seconds=seconds or DEADLINE_SECONDS)
    try:
        pool, path = thread_adapter().pool_and_path(request.url)
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
            raise NoResponse  # headers that were cut off look like complete ones
        if answer.status < 200:
            # http.client returns "102 Processing" and "103 Early Hints" as the response; the real one follows.
            answer.close()
            raise NoResponse
        return ApiResponse(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=_without_echo(request, _read_body(answer, max_bytes))
            if into is None
            else _copy_body(answer, max_bytes, into),
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if state["sent"]:
            raise NoResponse from error
        raise ConnectionFailed("tls" if isinstance(error, urllib3.exceptions.SSLError) else "cannot_connect") from error
    finally:
        watchdog.cancel_deadline(state)


def _without_echo(request: ApiRequest, body: bytes) -> bytes:
    """Redact the request's own credentials in the response: some APIs repeat the request in their errors."""
    return redact_echo(body, url=request.url, headers=request.headers, sent=request.body)


def _read_body(answer: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
    """Return the first bytes of the body, undecoded (no gzip bombs). A truncated body is returned as it is."""
    body = b""
    try:
        body = answer.read(max_bytes, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        answer.close()
    if len(body) >= max_bytes:
        answer.close()
    answer.release_conn()
    return body


def _copy_body(answer: urllib3.BaseHTTPResponse, max_bytes: int, into: IO[bytes]) -> bytes:
    """Copy the body to a file in pieces. The caller compares its length with the announced one."""
    left = max_bytes
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
