"""Request log with route patterns instead of paths and query strings, which contain tokens, keys and phones."""

import logging
from typing import Any

import structlog
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django_structlog.middlewares import RequestMiddleware

from config.web import client_address


class LazyRoute:
    """Route of a request, resolved only if the log line is written."""

    def __init__(self, request: HttpRequest, *, method: str = "") -> None:
        self.request, self.method = request, method

    def __str__(self) -> str:
        return f"{self.method} {route_pattern(self.request.path_info)}".strip()

    __repr__ = __str__


def route_pattern(path: str) -> str:
    """Return the URL pattern of a path, for example /webhooks/<slug:kind>/<str:token>/."""
    try:
        return f"/{resolve(path).route}"
    except Resolver404:
        return "(no such route)"


class RequestLogMiddleware(RequestMiddleware):
    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """Log the address that lockouts use. The client's headers cannot change it."""
        structlog.contextvars.bind_contextvars(ip=client_address.address_from_request(request))

    @staticmethod
    def format_request(request: HttpRequest) -> Any:
        return LazyRoute(request, method=request.method or "")


class RouteFilter(logging.Filter):
    """Replace paths with routes in the messages of Django's loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest) and isinstance(record.args, tuple):
            paths = (request.path, request.path_info, request.get_full_path())
            record.args = tuple(LazyRoute(request) if part in paths else part for part in record.args)
        elif record.name == "django.server" and record.args and isinstance(record.args, tuple):
            record.args = (_redact_request_line(str(record.args[0])), *record.args[1:])
        return True


def _redact_request_line(text: str) -> str:
    """Replace the path in `GET /path?query HTTP/1.1`, which the development server logs."""
    method, _, rest = text.partition(" ")
    return f"{method} {route_pattern(rest.partition(' ')[0].partition('?')[0])}"
