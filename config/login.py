"""Sign in: Django's own view with our page. django-axes locks a name at an address; here a flood is kept small."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from config import client_address
from config.attempt_limits import AttemptLimit

# Of one address and web process. An office behind one address mistypes now and then; a flood is over at once.
FAILURES = AttemptLimit(most=30, seconds=300)
# Checking a password costs a third of a second of a processor. So many requests of a web process do that or wait for
# it; the other places stay free for webhooks.
LANE = threading.BoundedSemaphore(2)
HASHING = threading.Lock()
BUSY_SECONDS = 2


class Login(LoginView):
    template_name = "bridge/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        address = client_address.from_request(request)
        if wait := FAILURES.wait_seconds(address):
            return too_many(request, wait)
        if not LANE.acquire(blocking=False):
            return too_many(request, BUSY_SECONDS)
        try:
            with HASHING:
                response = super().post(request, *args, **kwargs)
        finally:
            LANE.release()
        if response.status_code != 302:
            FAILURES.note_failure(address)
        return response


class AdminLogin(Login):
    """The same page at the admin's door, which an operator's password does not open."""

    authentication_form = AdminAuthenticationForm
    redirect_authenticated_user = False  # an operator sent here by the admin would go round in circles


def too_many(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = -(-wait // 60) if wait > BUSY_SECONDS else 0
    page = render(request, "bridge/login_busy.html", {"minutes": minutes}, status=429)
    page["Retry-After"] = str(wait)
    return page
