"""What follows a completed sign-in: cookies of the device and the language, and a notice about a new device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter
from django.http import HttpRequest, HttpResponse

from . import known_device, language, sessions

GetResponse = Callable[[HttpRequest], HttpResponse]


def mark_signed_in(*, request: HttpRequest, user: Any, **_kwargs: Any) -> None:
    """Handle Django's ``user_logged_in``: note it for the response, and tell the user about a new device."""
    sessions.mark_used(request)
    request.signed_in_user = user  # type: ignore[attr-defined]  # for `set_sign_in_cookies`
    if user.email and user.sign_in_notices and not known_device.device_of(request, username=user.get_username()):
        get_adapter(request).send_notification_mail("account/email/new_device", user, email=user.email)


def set_sign_in_cookies(get_response: GetResponse) -> GetResponse:
    """Middleware: after a sign-in, remember the device and restore the user's language."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        user = getattr(request, "signed_in_user", None)
        if user is not None and request.user.is_authenticated:
            known_device.set_device_cookie(request, response, username=user.get_username())
            language.restore_language(request, response)
        return response

    return middleware
