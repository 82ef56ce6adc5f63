"""The view of /metrics, and who may read it."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from config.accounts.authentication import ApiTokenAuthentication, opens_metrics
from config.web import client_address

from .exposition import PortalCollector


def export_metrics(request: HttpRequest) -> HttpResponse:
    """View of /metrics, for a scraper on this machine, with METRICS_TOKEN, a metrics token, or an admin's token."""
    try:
        is_allowed = is_local_request(request) or has_metrics_token(request)
    except DatabaseError:
        sentence = "The database does not answer, so API tokens cannot be checked. METRICS_TOKEN works without it.\n"
        return HttpResponse(sentence, status=503, content_type="text/plain")
    if not is_allowed:
        refused = HttpResponse("Only from this machine, or with a token for metrics.\n", status=403)
        refused.is_token_refused = "HTTP_AUTHORIZATION" in request.META  # type: ignore[attr-defined]
        return refused
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PortalCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def is_local_request(request: HttpRequest) -> bool:
    """Return whether the request comes from this machine. Requests that a local proxy forwards do not count."""
    if "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META:
        return False
    try:
        return ipaddress.ip_address(client_address.normalize_address(request.META.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False


def has_metrics_token(request: HttpRequest) -> bool:
    """Return whether the request has METRICS_TOKEN, a token of staff, or a metrics token of a service account.

    Raises DatabaseError if it may be one of the latter and the database does not answer.
    """
    if is_shared_token(request.META.get("HTTP_AUTHORIZATION", "")):
        return True
    try:
        found = ApiTokenAuthentication().authenticate(Request(request))
    except (AuthenticationFailed, PermissionDenied):
        return False
    return found is not None and opens_metrics(found[1])


def is_shared_token(header: str) -> bool:
    """Return whether the Authorization header has METRICS_TOKEN. Compared in constant time."""
    scheme, _space, token = header.partition(" ")
    expected: str = settings.METRICS_TOKEN
    return bool(expected) and scheme.lower() in ("bearer", "token") and constant_time_compare(token.strip(), expected)
