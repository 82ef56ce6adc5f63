"""Idle limit of sessions: a browser that nobody used for some hours must sign in again."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]

LAST_USED_KEY = "last_used"
# A session row is written at most this often, so that the limit costs no write per request.
WRITE_INTERVAL_SECONDS = 300


def limit_idle_sessions(get_response: GetResponse) -> GetResponse:
    """Middleware: sign out a user whose session was idle longer than ``SESSION_IDLE_HOURS``.

    The desk polls on its own, by a token that is no session (`bridge.desk.live`), so an open tab alone is idle.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now, last_used = time.time(), request.session.get(LAST_USED_KEY)
            if last_used is not None and now - last_used > settings.SESSION_IDLE_HOURS * 3600:
                logout(request)
            elif last_used is None or now - last_used > WRITE_INTERVAL_SECONDS:
                request.session[LAST_USED_KEY] = now
        return get_response(request)

    return middleware
