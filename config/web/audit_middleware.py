"""Middleware: attribute a request's writes to its user, API token and address, and record looks by route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject, empty

from config.audit.context import audit_context

from . import client_address
from .audited_looks import record_look

GetResponse = Callable[[HttpRequest], HttpResponse]
PROGRAM_PATHS = ("/api/", "/uapi/")
SINGLE_SIGN_ON_PATH = "/account/sso/"


def attribute_writes(get_response: GetResponse) -> GetResponse:
    """Middleware: describe the request to the audit, and record the look if its route is listed.

    Webhooks and the desk's polls are answered before this middleware: they belong to no person.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        with audit_context(lambda: describe_request(request)):
            response = get_response(request)
            record_look(request, response)
        return response

    return middleware


def describe_request(request: HttpRequest) -> dict[str, Any]:
    """Return who makes a request, and from where. Only the user agent and the request ID come from the client."""
    match = request.resolver_match
    description: dict[str, Any] = {
        "source": find_source(request),
        "route": f"/{match.route}" if match else "",
        "address": client_address.address_from_request(request),
        "user_agent": request.headers.get("User-Agent", ""),
        "request_id": str(structlog.contextvars.get_contextvars().get("request_id", "")),
    }
    user = known_user(request)
    if user is not None and user.is_authenticated:
        description |= {"actor": user.get_username(), "actor_id": user.pk}
    elif program := getattr(request, "audit_program", ""):
        description["actor"] = program
    if (token := getattr(request, "auth", None)) is not None:  # set by DRF
        description["token_id"] = getattr(token, "pk", None)
    return description


def find_source(request: HttpRequest) -> str:
    if request.path_info.startswith(PROGRAM_PATHS):
        return "api"
    return "single_sign_on" if request.path_info.startswith(SINGLE_SIGN_ON_PATH) else "web"


def known_user(request: HttpRequest) -> Any:
    """Return the request's user if somebody has looked, so that the record costs no query of its own."""
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject) and user._wrapped is empty:
        return None
    return user
