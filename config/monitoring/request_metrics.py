"""Durations of web requests by route, method and class of status."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from bridge.metrics import catalog

GetResponse = Callable[[HttpRequest], HttpResponse]

# Counted as one route each: webhooks, and pages with very many routes.
COMMON_ROUTES = ("/webhooks/", "/admin/", "/static/", "/health/", "/metrics", "/csp-report/", "/chats/updates/")
OTHER_ROUTE, OTHER_METHOD = "(other)", "(other)"


def measure_requests(get_response: GetResponse) -> GetResponse:
    """Middleware, outermost: count the request and its duration. Paths are never labels, only routes of the portal."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = get_response(request)
        method = request.method if request.method in catalog.METHODS else OTHER_METHOD
        status = f"{response.status_code // 100}xx"
        catalog.REQUEST_DURATION.observe(time.perf_counter() - started, find_route(request), method or "", status)
        return response

    return middleware


def find_route(request: HttpRequest) -> str:
    """Return the pattern of the route, or a name that several routes share."""
    path = request.path_info
    for route in COMMON_ROUTES:
        if path.startswith(route):
            return route
    match = request.resolver_match
    return f"/{match.route}" if match is not None else OTHER_ROUTE
