"""Receiver of browsers' reports on violations of the content security policy. It writes them to the log.

Anyone can send a report, so its content is untrusted. Its size and the number per address are limited. Only the route,
the directive, and the kind or host of the blocked resource are logged, because paths can contain tokens.
"""

import json
import logging
import re
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from config.web import client_address
from config.web.attempt_limits import AttemptLimit
from config.web.request_log import route_pattern

REPORT_PATH = "/csp-report/"
MAX_REPORT_BYTES = 16 * 1024
MAX_REPORTS_PER_CALL = 5  # in one request
REPORT_CALLS = AttemptLimit(max_attempts=20, seconds=60)  # requests per address and web process

DIRECTIVE = re.compile(r"[a-z-]{1,40}")
KEYWORD = re.compile(r"[a-z-]{1,20}")  # inline, eval, data, …
HOST = re.compile(r"[a-z0-9.:\[\]-]{1,100}", re.IGNORECASE)

logger = logging.getLogger(__name__)


@csrf_exempt
def receive_reports(request: HttpRequest) -> HttpResponse:
    """View: log the reports of `report-uri` (one object) and of `report-to` (a list)."""
    if request.method != "POST":
        return _error_response(405, "method_not_allowed", "Use POST.", {"Allow": "POST"})
    address = client_address.address_from_request(request)
    if wait := REPORT_CALLS.wait_seconds(address):
        return _error_response(429, "too_many_reports", "Too many reports.", {"Retry-After": str(wait)})
    REPORT_CALLS.record_failure(address)
    body = request.read(MAX_REPORT_BYTES + 1)
    if len(body) > MAX_REPORT_BYTES:
        return _error_response(413, "too_large", "The request body is too large.")
    try:
        reports = parse_reports(json.loads(body))
    except (ValueError, RecursionError):
        return _error_response(400, "invalid", "This is not a CSP report.")
    for report in reports[:MAX_REPORTS_PER_CALL]:
        logger.warning("content security policy violated: %s on %s, blocked %s", *summarize_report(report))
    return HttpResponse(status=204)


def parse_reports(content: Any) -> list[dict[str, Any]]:
    """Return the violation reports of either format. Raises ValueError."""
    if isinstance(content, dict) and isinstance(report := content.get("csp-report"), dict):
        return [report]
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError("not a CSP report")
    bodies = [item.get("body") for item in content if item.get("type") == "csp-violation"]
    return [body for body in bodies if isinstance(body, dict)]


def summarize_report(report: dict[str, Any]) -> tuple[str, str, str]:
    """Return the directive, the route of the page, and the blocked resource as a keyword or as scheme and host."""
    directive = _first_text(report, "effectiveDirective", "effective-directive", "violated-directive").partition(" ")[0]
    blocked = _first_text(report, "blockedURL", "blocked-uri")
    return (
        directive if DIRECTIVE.fullmatch(directive) else "(unknown)",
        _page_route(_first_text(report, "documentURL", "document-uri")),
        blocked if KEYWORD.fullmatch(blocked) else _blocked_origin(blocked),
    )


def _first_text(report: dict[str, Any], *names: str) -> str:
    found = next((report[name] for name in names if name in report), "")
    return found if isinstance(found, str) else ""


def _page_route(url: str) -> str:
    try:
        return route_pattern(urlsplit(url).path)
    except ValueError:
        return "(no such route)"


def _blocked_origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(unknown)"
    return f"{parts.scheme}://{host}" if parts.scheme and HOST.fullmatch(host) else "(unknown)"


def _error_response(status: int, reason: str, sentence: str, headers: dict[str, str] | None = None) -> JsonResponse:
    response = JsonResponse({"error": sentence, "reason": reason}, status=status, headers=headers)
    response._has_been_logged = True  # type: ignore[attr-defined]  # keeps Django from logging each request of a flood
    return response
