"""Middleware and error handlers of the portal."""

import inspect
import logging
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, RequestDataTooBig
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse, QueryDict
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils import timezone, translation
from django.views import defaults

from bridge import person_erased
from channels_setup.codecs.bodies import clean_text

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

# Unfold uses Alpine, which evaluates expressions in attributes, and style attributes. It has no inline scripts. Only
# the admin gets this wider policy, because the portal's own pages need none of it.
ADMIN_CSP = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}


FAST_PATH_PREFIXES = ("/webhooks/", "/health/ready", "/metrics", "/csp-report/")


def webhook_fast_path(get_response: GetResponse) -> GetResponse:
    """Call the views of webhooks and monitoring directly, without the middleware for browsers.

    These routes skip the ALLOWED_HOSTS check, because monitoring calls them by IP address.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(FAST_PATH_PREFIXES):
            return get_response(request)
        try:
            found = resolve(request.path_info)
        except Resolver404:
            return get_response(request)
        translation.activate(settings.LANGUAGE_CODE)  # the thread may still have the language of an earlier request
        return found.func(request, *found.args, **found.kwargs)

    return middleware


def liveness(get_response: GetResponse) -> GetResponse:
    """Answer /health/live before the host check: a load balancer calls it by IP address."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == "/health/live":
            return JsonResponse({"status": "ok"})
        return get_response(request)

    return middleware


def reject_oversized_bodies(get_response: GetResponse) -> GetResponse:
    """Answer an oversized body with a JSON 413 instead of Django's HTML 400."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return get_response(request)
        except RequestDataTooBig:
            return oversized_body_response()

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return oversized_body_response() if isinstance(exception, RequestDataTooBig) else None

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # where Django looks for it
    return middleware


def refuse_erased_people(get_response: GetResponse) -> GetResponse:
    """Answer a form about an erased person with 410, whether the code or the database refused it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not person_erased.is_refusal(exception):
            return None
        sentence = str(person_erased.SENTENCE)
        if "HX-Request" in request.headers:
            body = {"sent": False, "reason": person_erased.REASON, "sentence": sentence}
            return JsonResponse(body, status=person_erased.STATUS)
        return render(request, "bridge/conflict.html", {"sentence": sentence}, status=person_erased.STATUS)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # where Django looks for it
    return middleware


def oversized_body_response() -> JsonResponse:
    return JsonResponse({"error": "The request body is too large.", "reason": "too_large"}, status=413)


def replace_nul_characters(get_response: GetResponse) -> GetResponse:
    """Replace NUL characters in query strings and forms of pages, because PostgreSQL rejects them.

    Endpoints for programs are CSRF-exempt. They read the raw body and have their own parsers.
    """

    def process_view(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        if getattr(view, "csrf_exempt", False):
            return
        if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.META.get("QUERY_STRING", ""):
            request.GET = _replace_nul(request.GET)  # type: ignore[assignment]  # immutable in the stubs
        if request.method == "POST" and any("\0" in text for _name, texts in request.POST.lists() for text in texts):
            request.POST = _replace_nul(request.POST)  # type: ignore[assignment]  # as above

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 400 for values that PostgreSQL rejects, and for invalid lookups in URLs of the admin's lists."""
        of_admin = (OverflowError, FieldDoesNotExist) if request.path_info.startswith("/admin/") else ()
        if not isinstance(exception, (DataError, *of_admin)):
            return None
        logger.warning("value refused by the database")
        return bad_request(request, exception)

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # where Django looks for it
    middleware.process_view = process_view  # type: ignore[attr-defined]  # where Django looks for it
    return middleware


def _replace_nul(query: QueryDict) -> QueryDict:
    cleaned = QueryDict(mutable=True)
    for name, texts in query.lists():
        cleaned.setlist(clean_text(name), [clean_text(str(text)) for text in texts])
    cleaned._mutable = False
    return cleaned


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Error handler for requests that Django rejects before the view. Programs get JSON."""
    if isinstance(exception, RequestDataTooBig):
        return oversized_body_response()
    if not request.path_info.startswith(("/api/", "/uapi/", "/webhooks/")):
        return HttpResponseBadRequest("<h1>Bad Request (400)</h1>")
    sentence = "The request cannot be read."
    code: dict[str, Any] = {"code": 400} if request.path_info.startswith("/uapi/") else {"reason": "bad_request"}
    return JsonResponse({"error": sentence, **code}, status=400)


# Django's error views read the form for the CSRF token. An unreadable form would turn their response into a 500, so
# the undecorated functions are used.
permission_denied, page_not_found, server_error = (
    inspect.unwrap(page) for page in (defaults.permission_denied, defaults.page_not_found, defaults.server_error)
)


def apply_admin_csp(get_response: GetResponse) -> GetResponse:
    """Give the admin its own content security policy."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_update = ADMIN_CSP  # type: ignore[attr-defined]  # as the decorator of django-csp does
        return response

    return middleware


def activate_user_time_zone(get_response: GetResponse) -> GetResponse:
    """Show times in the time zone of the signed-in user, if one is set."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.user.time_zone if request.user.is_authenticated else ""
        try:
            zone = ZoneInfo(name) if name else None
        except (ZoneInfoNotFoundError, ValueError):  # removed by an update of the IANA database
            zone = None
        with timezone.override(zone):
            return get_response(request)

    return middleware
