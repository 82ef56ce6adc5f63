"""The hand-over page: a one-time link that needs no login. Programs that preview links must not use it up."""

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
    """GET shows a button, because mail programs and messengers fetch links to preview them. POST opens, exactly once.

    The browser that opened it keeps a signed cookie and may read the page until the link runs out.
    """
    found = Handover.by_token(token)
    language = _language(request, found)
    with translation.override(language):
        if found is None:
            return _render_page(request, "gone", language, status=404, sentence=_("There is no such hand-over link."))
        response = _respond(request, found, token, language)
    response["X-Robots-Tag"] = "noindex"
    return response


def _respond(request: HttpRequest, found: Handover, token: str, language: str) -> HttpResponse:
    mine = _opened_here(request, found)
    deed = request.POST.get("do") if request.method == "POST" else ""
    if deed == "open" and found.open():
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
    if deed == "open":
        found.refresh_from_db()
    if found.expires_at <= timezone.now():
        return _render_page(request, "gone", language, status=410, sentence=_expired_sentence(found))
    if mine:
        if deed == "confirm":
            found.confirm()
            return redirect(f"{request.path}?lang={language}#confirm")
        return _render_page(request, "sheet", language, handover=found, sheet=build_sheet(found))
    if found.opened_at is not None:
        return _render_page(request, "gone", language, status=410, sentence=_opened_sentence(found))
    return _render_page(request, "closed", language, handover=found)


def _opened_sentence(found: Handover) -> str:
    assert found.opened_at is not None
    return _(
        "This link was already opened at %(at)s. It opens only once. If that was not you or a colleague, tell whoever "
        "sent it: the key must be changed."
    ) % {"at": _format_time(found.opened_at)}


def _expired_sentence(found: Handover) -> str:
    return _("This link ran out at %(at)s. Ask whoever sent it for a new one.") % {"at": _format_time(found.expires_at)}


def _format_time(at: datetime) -> str:
    return timezone.localtime(at).strftime("%d.%m.%Y %H:%M %Z")


def _render_page(
    request: HttpRequest, name: str, language: str, *, status: int = 200, **context: object
) -> HttpResponse:
    context |= {"language": language, "other_language": "en" if language == "ru" else "ru"}
    return render(request, f"channels_setup/handover_{name}.html", context, status=status)


def _language(request: HttpRequest, found: Handover | None) -> str:
    """As asked by the switch, else as prepared: the admin knows who will read it."""
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
