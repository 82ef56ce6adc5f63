"""The idle poll, answered before anything else is done: one query, an empty answer.

A desk asks every second and a half whether something changed, and nearly always nothing did. Whoever may look has a
pass: signed by us, bound to the session, good for a minute and a half. It says who asks and which channels they see,
so that the question needs neither session nor user nor permissions: one query tells whether the session still
stands and whether the versions are those that the page shows. Everything else, and every change, is for the view
(``chats.news``), which looks at all of it anew; so a pass opens nothing but the answer "nothing new".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from bridge.desk import presentation
from bridge.desk.parameters import parse_int

from . import presence, versions

PATH = "/chats/updates/"
SALT = "bridge.desk.live.polling"
TOKEN_SECONDS = 90  # seconds; the list's version changes by the minute, and with each change comes a new pass

UNCHANGED_SQL = f"""
SELECT EXISTS (SELECT FROM django_session WHERE session_key = %(session)s AND expire_date > clock_timestamp())
   AND coalesce({versions.LIST_VERSION_SQL}, 'none') = %(list)s
   AND NOT EXISTS (SELECT FROM bridge_closingreminder WHERE id > %(warned)s AND (assignee_id = %(user)s
                   OR (assignee_id IS NULL AND chat_channel_id = ANY(%(channels)s))))
"""
# An unread message in the open chat is something to say until the page reads it.
UNCHANGED_CHAT_SQL = f"""
   AND (SELECT unread = 0 FROM bridge_conversation WHERE id = %(chat)s AND chat_channel_id = ANY(%(channels)s))
   AND {versions.THREAD_VERSION_SQL} = %(thread)s
"""


@dataclass(frozen=True)
class PollingUser:
    """As much of a user as the mark in an open chat needs."""

    pk: int
    name: str

    def get_full_name(self) -> str:
        return self.name


def fast_poll_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware, in front of nearly all others."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == PATH and request.method == "GET" and is_up_to_date(request):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
        return get_response(request)

    return middleware


def issue_poll_token(request: HttpRequest, channels: Sequence[int]) -> str:
    """A pass for who is signed in here."""
    return signing.dumps(
        {
            "user": request.user.pk,
            "name": presentation.person_name(request.user),
            "session": _fingerprint(request.session.session_key or ""),
            "channels": list(channels),
        },
        salt=SALT,
    )


def has_poll_token(request: HttpRequest) -> bool:
    return _read_poll_token(request) is not None


def is_up_to_date(request: HttpRequest) -> bool:
    """Whether the page shows what there is. False also where that cannot be told from here."""
    known = _read_poll_token(request)
    shown = request.GET
    chat = parse_int(shown.get("chat"))
    if known is None or ("chat" in shown and chat is None):
        return False
    values = {
        "session": request.COOKIES[settings.SESSION_COOKIE_NAME],
        "user": known["user"],
        "channels": known["channels"],
        "list": shown.get("list", "").replace("\0", ""),
        "warned": parse_int(shown.get("warned")) or 0,
        "chat": chat,
        "thread": shown.get("thread", "").replace("\0", ""),
    }
    with connection.cursor() as cursor:
        cursor.execute(UNCHANGED_SQL if chat is None else UNCHANGED_SQL + UNCHANGED_CHAT_SQL, values)
        if cursor.fetchone() != (True,):
            return False
    return chat is None or _presence_version(request, chat, PollingUser(known["user"], known["name"])) == shown.get(
        "others", ""
    )


def _presence_version(request: HttpRequest, chat: int, reader: PollingUser) -> str:
    """Leaves the mark that the view would leave, and sees whether the others' have changed."""
    is_here, writes = "away" not in request.GET, "writes" in request.GET
    return presence.record_heartbeat(chat, user=reader, writes=writes, is_here=is_here).version


def _read_poll_token(request: HttpRequest) -> dict[str, Any] | None:
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    text = request.headers.get("Okno-Pass", "")
    if not session or not text:
        return None
    try:
        known: dict[str, Any] = signing.loads(text, salt=SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature:
        return None
    return known if constant_time_compare(known["session"], _fingerprint(session)) else None


def _fingerprint(session_key: str) -> str:
    return salted_hmac(SALT, session_key).hexdigest()[:24]
