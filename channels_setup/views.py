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
    found = Handover.by_token(token)
    language = _language(request, found)
    with translation.override(language):
        if found is None:
            return _render_page(
                request, "gone", language, status=404, sentence=_("This hand-over link does not exist.")
            )
        response = _respond(request, found, token, language)
    response["X-Robots-Tag"] = "noindex"
    return response


def _respond(request: HttpRequest, found: Handover, token: str, language: str) -> HttpResponse:
    mine = _opened_here(request, found)
    action = request.POST.get("do") if request.method == "POST" else ""
    if action == "open" and found.open():
        response = redirect(f"{request.path}?lang={language}")
        left = found.expires_at - timezone.now()
        response.set_signed_cookie(
            _cookie_name(found),
            str(found.pk),
            salt=SALT,
            max_age=max(1, int(left.total_seconds())),
            path=request.path,
            httponly=True,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
        )
        return response
    if action == "open":
        found.refresh_from_db()
    if found.expires_at <= timezone.now():
        return _render_page(request, "gone", language, status=410, sentence=_expired_sentence(found))
    if mine:
        if action == "confirm":
            found.confirm()
            return redirect(f"{request.path}?lang={language}#confirm")
        return _render_page(request, "sheet", language, handover=found, sheet=build_sheet(found))
    if found.opened_at is not None:
        return _render_page(request, "gone", language, status=410, sentence=_opened_sentence(found))
    return _render_page(request, "closed", language, handover=found)


def _opened_sentence(found: Handover) -> str:
    assert found.opened_at is not None
    return _(
        "This link was opened at %(at)s and works only once. If it was not you or a colleague, contact the sender: "
        "the key must be changed."
    ) % {"at": _format_time(found.opened_at)}


def _expired_sentence(found: Handover) -> str:
    return _("This link expired at %(at)s. Ask the sender for a new one.") % {"at": _format_time(found.expires_at)}


def _format_time(at: datetime) -> str:
    return timezone.localtime(at).strftime("%d.%m.%Y %H:%M %Z")


def _render_page(
    request: HttpRequest, name: str, language: str, *, status: int = 200, **context: object
) -> HttpResponse:
    context |= {"language": language, "other_language": "en" if language == "ru" else "ru"}
    return render(request, f"channels_setup/handover_{name}.html", context, status=status)


def _language(request: HttpRequest, found: Handover | None) -> str:
    """Return the language that the reader chose, else the one that the admin created the link in."""
    asked = request.GET.get("lang", "")
    known = dict(settings.LANGUAGES)
    if asked in known:
        return asked
    return found.language if found is not None and found.language in known else settings.LANGUAGE_CODE


def _cookie_name(found: Handover) -> str:
    return f"handover_{found.pk}"


def _opened_here(request: HttpRequest, found: Handover) -> bool:
    try:
        return request.get_signed_cookie(_cookie_name(found), salt=SALT) == str(found.pk)
    except (KeyError, signing.BadSignature):
        return False
