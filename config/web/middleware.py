"""Small things between the web server and the views."""

import inspect
import logging
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, RequestDataTooBig
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse, QueryDict
from django.urls import Resolver404, resolve
from django.utils import timezone, translation
from django.views import defaults

from channels_setup.codecs.bodies import clean_text

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

# Unfold's admin runs Alpine, which compiles the expressions in its attributes, and has style attributes. Inline
# scripts it has none. Our own pages have nothing of all this, so the wider policy stays with the admin.
ADMIN_CSP = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}


FAST_PATH_PREFIXES = ("/webhooks/", "/health/ready", "/metrics", "/csp-report/")


def webhook_fast_path(get_response: GetResponse) -> GetResponse:
    """Send machines straight to their views: sessions, languages, content policies and the like are for browsers.

    Monitoring calls by bare address, as the host's name is not its business (ALLOWED_HOSTS).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(FAST_PATH_PREFIXES):
            return get_response(request)
        try:
            found = resolve(request.path_info)
        except Resolver404:
            return get_response(request)
        translation.activate(settings.LANGUAGE_CODE)  # not that of whoever had this thread before
        return found.func(request, *found.args, **found.kwargs)

    return middleware


def liveness(get_response: GetResponse) -> GetResponse:
    """Answer /health/live before anything is asked: a balancer calls by bare address and asks only whether we run."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == "/health/live":
            return JsonResponse({"status": "ok"})
        return get_response(request)

    return middleware


def reject_oversized_bodies(get_response: GetResponse) -> GetResponse:
    """Django answers an oversized body with an HTML 400; programs understand 413 in JSON."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return get_response(request)
        except RequestDataTooBig:
            return oversized_body_response()

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return oversized_body_response() if isinstance(exception, RequestDataTooBig) else None

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # Django looks for it there
    return middleware


def oversized_body_response() -> JsonResponse:
    return JsonResponse({"error": "The request body is too large.", "reason": "too_large"}, status=413)


def replace_nul_characters(get_response: GetResponse) -> GetResponse:
    """Replace NUL in what pages read from addresses and forms: PostgreSQL stores none, and a search for one raises.

    Programs' endpoints, which need no CSRF token, read exact bytes and have readers of their own.
    """

    def process_view(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        if getattr(view, "csrf_exempt", False):
            return
        if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.META.get("QUERY_STRING", ""):
            request.GET = _replace_nul(request.GET)  # type: ignore[assignment]  # immutable in the stubs
        if request.method == "POST" and any("\0" in text for _name, texts in request.POST.lists() for text in texts):
            request.POST = _replace_nul(request.POST)  # type: ignore[assignment]  # as above

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The last resort: a value that PostgreSQL refuses. The admin's lists take any look-up of a field (__year)."""
        of_admin = (OverflowError, FieldDoesNotExist) if request.path_info.startswith("/admin/") else ()
        if not isinstance(exception, (DataError, *of_admin)):
            return None
        logger.warning("value refused by the database")
        return bad_request(request, exception)

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # Django looks for it there
    middleware.process_view = process_view  # type: ignore[attr-defined]  # Django looks for it there
    return middleware


def _replace_nul(given: QueryDict) -> QueryDict:
    cleaned = QueryDict(mutable=True)
    for name, texts in given.lists():
        cleaned.setlist(clean_text(name), [clean_text(str(text)) for text in texts])
    cleaned._mutable = False
    return cleaned


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses before any view (host, framing of a form): in JSON where programs call."""
    if isinstance(exception, RequestDataTooBig):
        return oversized_body_response()
    if not request.path_info.startswith(("/api/", "/uapi/", "/webhooks/")):
        return HttpResponseBadRequest("<h1>Bad Request (400)</h1>")
    sentence = "The request cannot be read."
    code: dict[str, Any] = {"code": 400} if request.path_info.startswith("/uapi/") else {"reason": "bad_request"}
    return JsonResponse({"error": sentence, **code}, status=400)


# Django's own read the posted form for its CSRF token: one that cannot be read would turn their answer into a 500.
permission_denied, page_not_found, server_error = (
    inspect.unwrap(page) for page in (defaults.permission_denied, defaults.page_not_found, defaults.server_error)
)


def apply_admin_csp(get_response: GetResponse) -> GetResponse:
    """Give the admin its own content security policy."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_update = ADMIN_CSP  # type: ignore[attr-defined]  # as csp's decorator does
        return response

    return middleware


def activate_user_time_zone(get_response: GetResponse) -> GetResponse:
    """Show times in the signed-in user's own time zone, where one is set."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.user.time_zone if request.user.is_authenticated else ""
        try:
            zone = ZoneInfo(name) if name else None
        except (ZoneInfoNotFoundError, ValueError):  # a zone that an update of the IANA database has removed
            zone = None
        with timezone.override(zone):
            return get_response(request)

    return middleware
