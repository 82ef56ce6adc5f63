"""Answer 503 instead of working on a database whose schema is older than this code, until it is migrated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponseBase

from channels_setup.database_schema import find_reason_to_wait
from config.web.upgrade_response import build_upgrade_response

OPEN_PATHS = ("/health/", "/static/")


class SchemaGate:
    """WSGI application around Django. Costs nothing once no migration is missing."""

    def __init__(self, application: Callable[..., HttpResponseBase]) -> None:
        self.application = application

    def __call__(self, scope: dict[str, Any], start_response: Callable[..., Any]) -> HttpResponseBase:
        path: str = scope["PATH_INFO"]
        if path.startswith(OPEN_PATHS) or not find_reason_to_wait():
            return self.application(scope, start_response)
        response = build_upgrade_response(path)
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return response
