"""django-allauth's views with facts that our pages need in addition."""

from __future__ import annotations

from typing import Any

import requests
from allauth.account.views import EmailView, PasswordResetView, PasswordSetView
from allauth.mfa.base.views import IndexView
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from config.accounts import email_addresses, second_factor
from config.accounts.single_sign_on import refuse_access, report_failure, uses_only_single_sign_on


class RequestPasswordReset(PasswordResetView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"can_email": bool(settings.EMAIL_HOST)}


class ChangeEmail(EmailView):
    """Change of the own address by a confirmation link. Without an email server, only an admin can change it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            email_addresses.sync_email_address(request.user)
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # allauth's "action_primary" would give a user without an address an unconfirmed one.
        if not settings.EMAIL_HOST or uses_only_single_sign_on(request.user) or "action_primary" in request.POST:
            return self.get(request, *args, **kwargs)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            "can_email": bool(settings.EMAIL_HOST),
            "only_single_sign_on": uses_only_single_sign_on(self.request.user),
        }


class SetPassword(PasswordSetView):
    """Password of a user who has none. People with single sign-on get none here: their provider decides."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and uses_only_single_sign_on(request.user):
            messages.info(request, _("You sign in with single sign-on, so you have no password here."))
            return redirect("preferences")
        return super().dispatch(request, *args, **kwargs)


def start_single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Redirect to the provider. A link on another site gets a page that asks first.

    Of the parameters only ``next`` counts. allauth knows others, which link an account at the provider to the user who
    is signed in, or change what the provider is asked.
    """
    is_foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    if is_foreign and settings.SOCIALACCOUNT_PROVIDERS:
        return render(request, "socialaccount/login.html")
    query = QueryDict(mutable=True)
    query.update({name: request.GET[name] for name in ("next",) if name in request.GET})
    request.GET, request.POST = query, QueryDict()  # type: ignore[assignment]  # immutable in the stubs
    try:
        response: HttpResponseBase = openid_connect.login(request, provider_id=provider_id)
    except requests.RequestException as problem:
        return report_failure(request, problem)
    return response


def finish_single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Sign in with the provider's answer. allauth does not expect that the provider is down at this moment."""
    try:
        response: HttpResponseBase = openid_connect.callback(request, provider_id=provider_id)
    except requests.RequestException as problem:
        return report_failure(request, problem)
    return response


def refuse_social_signup(request: HttpRequest) -> HttpResponse:
    """Refuse a sign-in for which allauth would ask people to register: its email address belongs to another user."""
    return refuse_access(request, _("Single sign-on cannot create your account. Ask an admin to create it."))


class SecondFactorIndex(IndexView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            "second_factor_missing": second_factor.is_missing(self.request),
            "only_single_sign_on": uses_only_single_sign_on(self.request.user),
        }
