"""Send one request and wait for its response."""

from __future__ import annotations

from typing import IO

from channels_setup.providers.base import ApiRequest, ApiResponse

from .concurrent_calls import get_thread_calls
from .transfer import MAX_RESPONSE_BYTES


def send(
    request: ApiRequest,
    *,
    max_bytes: int = MAX_RESPONSE_BYTES,
    seconds: float | None = None,
    into: IO[bytes] | None = None,
) -> ApiResponse:
    """Make one call within ``seconds`` (default DEADLINE_SECONDS) and return the response, whatever its status.

    The body is cut at ``max_bytes``. With ``into``, the body is written there in pieces and the returned body is empty.
    Raises ForbiddenAddress, ConnectionFailed or NoResponse, and OSError if ``into`` cannot be written.
    """
    calls = get_thread_calls("send")
    try:
        calls.start(None, request, max_bytes=max_bytes, seconds=seconds, into=into)
        while not (finished := calls.wait(60.0)):
            pass
    except BaseException:  # a call that is left would answer the next one
        calls.cancel_all()
        raise
    _tag, result = finished[0]
    if isinstance(result, Exception):
        raise result
    return result
