"""Sessions: the idle limit, and ending the sessions of a user."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, logout
from django.db.models import F
from django.http import HttpRequest, HttpResponse

from config.audit import record
from config.audit.models import Action

from .email_addresses import cancel_change
from .models import User

GetResponse = Callable[[HttpRequest], HttpResponse]

LAST_USED_KEY = "last_used"
# A session row is written at most this often, so that the limit costs no write per request.
WRITE_INTERVAL_SECONDS = 300
# Requests that pages send without their user
IDLE_PATHS = re.compile(r"/chats/updates/|/phone/\d+/messages")
IDLE_HEADER = "Okno-Refresh"  # of a live page that asks for itself


def mark_used(request: HttpRequest) -> None:
    request.session[LAST_USED_KEY] = time.time()


def limit_idle_sessions(get_response: GetResponse) -> GetResponse:
    """Middleware: sign out a user whose session was idle longer than ``SESSION_IDLE_HOURS``.

    The polls of the desk and of the training phone, and the refreshes of live pages, do not count as use, so that an
    open tab alone does not keep a session alive.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now, last_used = time.time(), request.session.get(LAST_USED_KEY)
            if last_used is not None and now - last_used > settings.SESSION_IDLE_HOURS * 3600:
                logout(request)
            elif not _is_sent_by_page(request) and (last_used is None or now - last_used > WRITE_INTERVAL_SECONDS):
                mark_used(request)
        return get_response(request)

    return middleware


def _is_sent_by_page(request: HttpRequest) -> bool:
    return IDLE_HEADER in request.headers or IDLE_PATHS.fullmatch(request.path_info) is not None


def end_sessions(user: Any, *, keep: HttpRequest | None = None) -> str:
    """End all sessions of a user, except that of the request ``keep``, and return a sentence that says so.

    A change of the email address that waits for its confirmation is canceled, too. The increased epoch also ends
    sessions that are not listed, such as those of other session stores.
    """
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    rows = UserSession.objects.filter(user_id=user.pk)
    if keep is not None:
        keep_session(keep, user)
        rows = rows.exclude(session_key=keep.session.session_key)
    cancel_change(user)
    count = 0
    for session in rows:
        session.end()
        count += 1
    record_ended_sessions(user, count)
    return f"Ended {count} sessions."


def keep_session(request: HttpRequest, user: Any) -> None:
    """Let the current session survive a change that ended all sessions of its user."""
    user.refresh_from_db(fields=["session_epoch", "password"])
    request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()


def record_ended_sessions(user: Any, count: int) -> None:
    details = {"sessions": count}
    record.record_action(Action.SESSION_ENDED, "accounts.user", user.pk, label=user.get_username(), details=details)
