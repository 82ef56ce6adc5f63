"""Rate limit of wrong API tokens and keys per client address: further guesses get 429.

Only refused calls count, and only they get 429: calls with a valid key from the same address (an office, a NAT) pass.
"""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from config.web import client_address
from config.web.attempt_limits import AttemptLimit

logger = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]

MAX_FAILURES = 30  # per minute, address and web process
WRONG_TOKENS = AttemptLimit(max_attempts=MAX_FAILURES, seconds=60)


def limit_wrong_tokens(get_response: Handler) -> Handler:
    """Middleware: count refused calls per address and replace further ones with 429 above the limit."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not is_refusal(request, response):
            return response
        address = client_address.address_from_request(request)
        if wait := WRONG_TOKENS.wait_seconds(address):
            return too_many_response(wait)
        WRONG_TOKENS.record_failure(address)
        if WRONG_TOKENS.wait_seconds(address):
            logger.warning("too many wrong tokens from %s: further ones get 429", address)
        return response

    return middleware


def is_refusal(request: HttpRequest, response: HttpResponse) -> bool:
    """Return whether a call had an unknown key or token. `/uapi` responds with 200 and sets ``is_token_refused``."""
    if request.path_info.startswith("/api/"):
        return response.status_code == 401 and "HTTP_AUTHORIZATION" in request.META
    return bool(getattr(response, "is_token_refused", False))


def too_many_response(wait: int) -> JsonResponse:
    sentence = _("Too many calls with a wrong token from this address. Try again later.")
    body = {"error": sentence, "reason": "too_many_wrong_tokens", "code": 429}
    headers = {"Retry-After": str(wait)}
    response = JsonResponse(body, status=429, headers=headers, json_dumps_params={"ensure_ascii": False})
    response._has_been_logged = True  # type: ignore[attr-defined]  # prevents one Django log line per call
    return response
