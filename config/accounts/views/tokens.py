"""A person's own API tokens: list, create, revoke."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from allauth.account import app_settings
from allauth.account.internal.flows import reauthentication
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.accounts.models import ApiToken, User
from config.accounts.own_tokens import OwnTokenForm, may_create
from config.accounts.token_rights import describe_rights

View = Callable[..., HttpResponse]


def recent_sign_in_required(view: View) -> View:
    """Decorator: let users confirm who they are first, unless they did so within the last minutes.

    Users who have nothing to confirm with, because they sign in by single sign-on only, must have signed in recently.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if reauthentication.get_reauthentication_flows(request.user):
            if not reauthentication.did_recently_reauthenticate(request):
                raise ReauthenticationRequired  # allauth's middleware shows the form, and repeats the request after it
        elif not signed_in_recently(request):
            sentence = _("Sign out, sign in again, and create the token within 15 minutes.")
            return render(request, "account/refused.html", {"sentence": sentence}, status=403)
        return view(request, *args, **kwargs)

    return wrapper


def signed_in_recently(request: HttpRequest) -> bool:
    oldest = time.time() - app_settings.REAUTHENTICATION_TIMEOUT
    return any(record["at"] > oldest for record in get_authentication_records(request, request.user))


@login_required
@require_GET
def list_tokens(request: HttpRequest) -> HttpResponse:
    """List the user's tokens, those that work first."""
    rows = ApiToken.objects.filter(user=cast(User, request.user)).select_related("user")
    tokens = list(rows.prefetch_related("chat_channels"))
    tokens.sort(key=lambda token: token.state not in ("active", "expiring"))
    return render(
        request, "account/tokens.html", {"tokens": tokens, "may_create": may_create(request.user), "section": "account"}
    )


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
@recent_sign_in_required
def create_token(request: HttpRequest) -> HttpResponse:
    """Create a token and show it once, in the response to the form, so that it is in no session or log."""
    if not may_create(request.user):
        raise PermissionDenied
    form = OwnTokenForm(request.POST if request.method == "POST" else None, user=request.user)
    if not form.is_valid():
        return render(request, "account/token_new.html", {"form": form, "section": "account"})
    token, text = form.issue()
    context = {"token": token, "value": text, "rights": describe_rights(token), "section": "account"}
    return render(request, "account/token_created.html", context)


@login_required
@require_POST
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=pk, user=request.user)
    ApiToken.objects.filter(pk=token.pk).revoke()
    messages.success(request, _("Revoked. Calls with it are refused from now on."))
    return redirect("own-tokens")
