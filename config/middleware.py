"""Small things between the web server and the views."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from django.utils import translation

Handler = Callable[[HttpRequest], HttpResponse]

# Unfold's admin runs Alpine, which compiles the expressions in its attributes, and has style attributes. Inline
# scripts it has none. Our own pages have nothing of all this, so the wider policy stays with the admin.
ADMIN_POLICY = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}


MACHINE_ROUTES = ("/webhooks/", "/health/ready", "/metrics", "/csp-report/")


def machines(get_response: Handler) -> Handler:
    """Send machines straight to their views: sessions, languages, content policies and the like are for browsers.

    Monitoring calls by bare address, as the host's name is not its business (ALLOWED_HOSTS).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(MACHINE_ROUTES):
            return get_response(request)
        try:
            found = resolve(request.path_info)
        except Resolver404:
            return get_response(request)
        translation.activate(settings.LANGUAGE_CODE)  # not that of whoever had this thread before
        return found.func(request, *found.args, **found.kwargs)

    return middleware


def alive(get_response: Handler) -> Handler:
    """Answer /health/live before anything is asked: a balancer calls by bare address and asks only whether we run."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == "/health/live":
            return JsonResponse({"status": "ok"})
        return get_response(request)

    return middleware


def too_large_is_413(get_response: Handler) -> Handler:
    """Django answers an oversized body with an HTML 400; programs understand 413 in JSON."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return get_response(request)
        except RequestDataTooBig:
            return too_large()

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return too_large() if isinstance(exception, RequestDataTooBig) else None

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # Django looks for it there
    return middleware


def too_large() -> JsonResponse:
    return JsonResponse({"error": "The request body is too large.", "reason": "too_large"}, status=413)


def admin_scripts(get_response: Handler) -> Handler:
    """Give the admin its own content security policy."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_update = ADMIN_POLICY  # type: ignore[attr-defined]  # as csp's decorator does
        return response

    return middleware
