"""Limit of wrong API tokens and keys by client address: a flood of guesses gets 429.

Only the refusals count, and only they are refused: a right key from the same address (an office, a NAT) goes on.
"""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from config.web import client_address
from config.web.attempt_limits import AttemptLimit

logger = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]

MAX_FAILURES = 30  # in a minute, of one address and web process
WRONG_TOKENS = AttemptLimit(max_attempts=MAX_FAILURES, seconds=60)


def limit_wrong_tokens(get_response: Handler) -> Handler:
    """Middleware: count the refusals of an address, and answer 429 in their place when there are too many."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not is_refusal(request, response):
            return response
        address = client_address.address_from_request(request)
        if wait := WRONG_TOKENS.wait_seconds(address):
            return too_many_response(wait)
        WRONG_TOKENS.record_failure(address)
        if WRONG_TOKENS.wait_seconds(address):
            logger.warning("many wrong tokens from %s: further ones get 429", address)
        return response

    return middleware


def is_refusal(request: HttpRequest, response: HttpResponse) -> bool:
    """Return whether a key or token was given and is nobody's. `/uapi` says so with status 200, so it leaves a mark."""
    if request.path_info.startswith("/api/"):
        return response.status_code == 401 and "HTTP_AUTHORIZATION" in request.META
    return bool(getattr(response, "is_token_refused", False))


def too_many_response(wait: int) -> JsonResponse:
    sentence = _("Too many calls with a wrong token from this address. Try again later.")
    body = {"error": sentence, "reason": "too_many_wrong_tokens", "code": 429}
    headers = {"Retry-After": str(wait)}
    response = JsonResponse(body, status=429, headers=headers, json_dumps_params={"ensure_ascii": False})
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would write a line for each of a flood
    return response
