"""Second factor by role: users with a listed role must set one up before they use the portal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from channels_setup.roles import Role

from . import sessions

GetResponse = Callable[[HttpRequest], HttpResponse]

SESSION_KEY = "has_second_factor"
FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
# Pages that a user without the required second factor may open: those that set it up, confirm who they are, or need
# no sign-in. Not the whole account: API tokens and the email address must wait.
OPEN_PREFIXES = (
    *("/account/second-factor/", "/account/confirm/", "/account/password/link/", "/account/password/reset/"),
    *("/account/sso/", "/login/", "/logout/", "/i18n/", "/static/", "/health/", "/csp-report/"),
)


def is_required(user: Any) -> bool:
    """Return whether one of the user's roles requires a second factor (``SECOND_FACTOR_ROLES``)."""
    required = settings.SECOND_FACTOR_ROLES
    if not required:
        return False
    role = Role.of_user(user)
    # A user of the admin site without a role has permissions of an admin.
    return (Role.ADMIN if role is None and user.is_staff else role) in required


def signed_in_by_provider(request: HttpRequest) -> bool:
    """Return whether this session began with single sign-on, where the provider asks for the second factor."""
    return any(record["method"] == "socialaccount" for record in get_authentication_records(request, request.user))


def require_second_factor(get_response: GetResponse) -> GetResponse:
    """Middleware: send users whose role requires a second factor, and who have none, to its page.

    API tokens are not affected: they are no interactive sign-in.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(OPEN_PREFIXES) or not is_missing(request):
            return get_response(request)
        if request.path_info.startswith(("/api/", "/uapi/")):
            sentence = _("Set up a second factor first.")
            return JsonResponse({"error": sentence, "reason": "second_factor"}, status=403)
        return HttpResponseRedirect(reverse("mfa_index"))

    return middleware


def is_missing(request: HttpRequest) -> bool:
    """Return whether the signed-in user must set up a second factor. A positive check is kept in the session."""
    if not request.user.is_authenticated or request.session.get(SESSION_KEY) or not is_required(request.user):
        return False
    if signed_in_by_provider(request) or is_mfa_enabled(request.user, FACTORS):
        request.session[SESSION_KEY] = True
        return False
    return True


def forget_second_factor(*, request: HttpRequest, user: Any, **_kwargs: Any) -> None:
    """Handle allauth's ``authenticator_removed``: check again on the next request, and in no other session."""
    request.session.pop(SESSION_KEY, None)
    if not is_mfa_enabled(user, FACTORS):
        sessions.end_sessions(user, keep=request)


def remove_second_factors(user: Any) -> str:
    """Remove all second factors of a user, end all sessions, and return a sentence that says so."""
    Authenticator.objects.filter(user=user).delete()
    return f"Removed the second factors. {sessions.end_sessions(user)}"
