"""Hand-over page: a one-time link without sign-in. Programs that preview links must not use up the link."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from config.audit import record

from .handover import build_sheet
from .models import Handover

SALT = "okno.handover"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def handover(request: HttpRequest, token: str) -> HttpResponse:
    """Show a button on GET; open the page on POST, exactly once.

    Mail programs and messengers fetch links to preview them, so GET opens nothing. The browser that opened the page
    keeps a signed cookie and can read the page until the link expires.
    """
    page = Handover.by_token(token)
    language = _language(request, page)
    with translation.override(language):
        if page is None:
            return _render_page(
                request, "gone", language, status=404, sentence=_("This hand-over link does not exist.")
            )
        response = _respond(request, page, token, language)
    response["X-Robots-Tag"] = "noindex"
    return response


def _respond(request: HttpRequest, page: Handover, token: str, language: str) -> HttpResponse:
    is_opener = _opened_here(request, page)
    action = request.POST.get("do") if request.method == "POST" else ""
    if action == "open" and page.open():
        record.record_view("channels_setup.handover", page.pk)
        response = redirect(f"{request.path}?lang={language}")
        left = page.expires_at - timezone.now()
        response.set_signed_cookie(
            _cookie_name(page),
            str(page.pk),
            salt=SALT,
            max_age=max(1, int(left.total_seconds())),
            path=request.path,
            httponly=True,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
        )
        return response
    if action == "open":
        page.refresh_from_db()
    if page.expires_at <= timezone.now():
        return _render_page(request, "gone", language, status=410, sentence=_expired_sentence(page))
    if is_opener:
        if action == "confirm":
            page.confirm()
            return redirect(f"{request.path}?lang={language}#confirm")
        record.record_looks("channels_setup.handover", [page.pk])  # it shows the key each time
        return _render_page(request, "sheet", language, handover=page, sheet=build_sheet(page))
    if page.opened_at is not None:
        return _render_page(request, "gone", language, status=410, sentence=_opened_sentence(page))
    return _render_page(request, "closed", language, handover=page)


def _opened_sentence(page: Handover) -> str:
    assert page.opened_at is not None
    return _(
        "This link was opened at %(at)s and works only once. If it was not you or a colleague, contact the sender: "
        "the key must be changed."
    ) % {"at": _format_time(page.opened_at)}


def _expired_sentence(page: Handover) -> str:
    return _("This link expired at %(at)s. Ask the sender for a new one.") % {"at": _format_time(page.expires_at)}


def _format_time(at: datetime) -> str:
    return timezone.localtime(at).strftime("%d.%m.%Y %H:%M %Z")


def _render_page(
    request: HttpRequest, name: str, language: str, *, status: int = 200, **context: object
) -> HttpResponse:
    context |= {"language": language, "other_language": "en" if language == "ru" else "ru"}
    return render(request, f"channels_setup/handover_{name}.html", context, status=status)


def _language(request: HttpRequest, page: Handover | None) -> str:
    """Return the language that the reader chose, else the one that the admin created the link in."""
    requested = request.GET.get("lang", "")
    languages = dict(settings.LANGUAGES)
    if requested in languages:
        return requested
    return page.language if page is not None and page.language in languages else settings.LANGUAGE_CODE


def _cookie_name(page: Handover) -> str:
    return f"handover_{page.pk}"


def _opened_here(request: HttpRequest, page: Handover) -> bool:
    try:
        return request.get_signed_cookie(_cookie_name(page), salt=SALT) == str(page.pk)
    except (KeyError, signing.BadSignature):
        return False
