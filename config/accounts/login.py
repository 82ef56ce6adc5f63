"""Sign-in: Django's view with limits per address and per device. django-axes locks a user name at an address."""

from __future__ import annotations

import threading
from typing import Any

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import Login as PendingLogin
from allauth.socialaccount.adapter import get_adapter
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from config.web import client_address
from config.web.attempt_limits import AttemptLimit

from . import known_device

# Per address and web process. High enough for the typing errors of an office that shares one address.
ADDRESS_FAILURES = AttemptLimit(max_attempts=30, seconds=300)
DEVICE_FAILURES = AttemptLimit(max_attempts=5, seconds=900)  # per known device, as django-axes does per address
# Checking a password takes a third of a second of CPU time. This limits how many requests of a web process check or
# wait at once; other worker slots stay free for webhooks. `config.serving.body_buffer` queues them before that.
CHECK_SLOTS = threading.BoundedSemaphore(2)
HASH_LOCK = threading.Lock()
BUSY_SECONDS = 2


class Login(LoginView):
    template_name = "bridge/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        username = request.POST.get("username", "")
        device = known_device.device_of(request, username=username)
        limit, key = (
            (DEVICE_FAILURES, device) if device else (ADDRESS_FAILURES, client_address.address_from_request(request))
        )
        if wait := limit.wait_seconds(key):
            return busy_page(request, wait)
        if not CHECK_SLOTS.acquire(blocking=False):
            return busy_page(request, BUSY_SECONDS)
        request.is_known_device = bool(device)  # type: ignore[attr-defined]  # for `is_known_device`
        try:
            with HASH_LOCK:
                response = super().post(request, *args, **kwargs)
        finally:
            CHECK_SLOTS.release()
        if response.status_code != 302:
            limit.record_failure(key)
        elif request.user.is_authenticated and device:
            # As django-axes does. An address is not reset, because an attacker there may have an account.
            DEVICE_FAILURES.reset(device)
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in after a correct password, or ask for the second factor first."""
        user = form.get_user()
        # Counts as a confirmation, so that changing second factors right afterwards needs no second one.
        record_authentication(self.request, user, method="password", username=user.get_username(), reauthenticated=True)
        return perform_login(self.request, PendingLogin(user=user, redirect_url=self.get_success_url()))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        providers = [
            {"name": provider.name, "url": provider.get_login_url(self.request)}
            for provider in get_adapter().list_providers(self.request)
        ]
        return super().get_context_data(**kwargs) | {"single_sign_on": providers}


class Logout(LogoutView):
    """Sign-out, which also cancels a sign-in that waits for its second factor.

    The browser empties its HTTP cache. Its local storage stays: unsent texts of a user are shown to that user only.
    """

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        clear_login(request)
        response = super().post(request, *args, **kwargs)
        response["Clear-Site-Data"] = '"cache"'
        return response


class AdminLogin(Login):
    """Sign-in page of the admin site, which refuses operators."""

    authentication_form = AdminAuthenticationForm
    redirect_authenticated_user = False  # would redirect operators in a loop


def is_known_device(request: HttpRequest, _credentials: dict[str, Any] | None = None) -> bool:
    """Return whether django-axes must ignore failures of others at the same address (AXES_WHITELIST_CALLABLE)."""
    return getattr(request, "is_known_device", False)


def busy_page(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = -(-wait // 60) if wait > BUSY_SECONDS else 0
    page = render(request, "bridge/login_busy.html", {"minutes": minutes}, status=429)
    page["Retry-After"] = str(wait)
    return page
