"""The answer to requests while the database has the schema of another release: 503, to be sent again."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from channels_setup.database_schema import forget_mismatch, get_mismatch

STATUS = 503
RETRY_AFTER = "5"
PROGRAM_PATHS = ("/api/", "/uapi/", "/webhooks/", "/metrics")
PAGE = """<!doctype html><html lang="{}"><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>{}</title>
<p>{}</p></html>"""


def build_upgrade_response(path: str) -> HttpResponse:
    """Return the 503 of this path: JSON for programs, a page that reloads itself for people."""
    title, sentence = _("Upgrade in progress"), _("The portal is being upgraded. Please try again in a minute.")
    headers = {"Retry-After": RETRY_AFTER, "Cache-Control": "no-store"}
    if path.startswith(PROGRAM_PATHS):
        code: dict[str, object] = {"code": STATUS} if path.startswith("/uapi/") else {"reason": "upgrade"}
        readable = {"ensure_ascii": False}
        return JsonResponse({"error": sentence, **code}, status=STATUS, headers=headers, json_dumps_params=readable)
    page = format_html(PAGE, get_language() or "", title, sentence)
    return HttpResponse(page, status=STATUS, headers=headers)


def answer_schema_mismatch(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 503 instead of 500 if a statement met the schema of another release (middleware, outside of all others).

    It looks at the response, because views, Django REST framework and inner middleware each handle exceptions.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        forget_mismatch()
        response = get_response(request)
        return build_upgrade_response(request.path_info) if response.status_code == 500 and get_mismatch() else response

    return middleware
