"""Sign in: Django's own view with our page. django-axes locks a name at an address; here a flood is kept small."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from config.web import client_address
from config.web.attempt_limits import AttemptLimit

from . import known_device, language

# Of one address and web process. An office behind one address mistypes now and then; a flood is over at once.
ADDRESS_FAILURES = AttemptLimit(max_attempts=30, seconds=300)
DEVICE_FAILURES = AttemptLimit(max_attempts=5, seconds=900)  # of one known device, as django-axes has it for an address
# Checking a password costs a third of a second of a processor. So many requests of a web process do that or wait for
# it; the other places stay free for webhooks. `config.serving.body_buffer` has them wait before they take a place.
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
        elif request.user.is_authenticated:
            if device:  # as django-axes does; an address is not forgiven, for it may be an attacker's with an account
                DEVICE_FAILURES.reset(device)
            known_device.set_device_cookie(request, response, username=request.user.get_username())
            language.restore_language(request, response)
        return response


class AdminLogin(Login):
    """The same page at the admin's door, which an operator's password does not open."""

    authentication_form = AdminAuthenticationForm
    redirect_authenticated_user = False  # an operator sent here by the admin would go round in circles


def is_known_device(request: HttpRequest, _credentials: dict[str, Any] | None = None) -> bool:
    """Return whether django-axes lets the attempt pass: what others at the same address did does not count for it."""
    return getattr(request, "is_known_device", False)


def busy_page(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = -(-wait // 60) if wait > BUSY_SECONDS else 0
    page = render(request, "bridge/login_busy.html", {"minutes": minutes}, status=429)
    page["Retry-After"] = str(wait)
    return page
