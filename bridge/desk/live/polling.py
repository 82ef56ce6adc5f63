"""Fast path for idle polls: one query and an empty response.

An open desk polls every 1.5 seconds, and almost always nothing has changed. Each page holds a poll token: signed, bound
to the session, valid for 90 seconds. It names the user and their channels, so that the fast path loads neither session
nor user nor permissions: one query checks that the session exists, that the user still sees these channels, and that
the page's versions are current. The view (``chats.poll_updates``) handles every change and checks everything again; the
token alone gives no data.
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

from bridge.conversations import availability
from bridge.conversations.assignments import SEES_ALL_CONDITION, SEES_CHATS_CONDITION, waits_for_condition
from bridge.desk import presentation
from bridge.desk.parameters import parse_int

from . import notifications, presence, versions

PATH = "/chats/updates/"
SALT = "bridge.desk.live.polling"
TOKEN_SECONDS = 90  # the list's version changes every minute, and each change brings a new token

# Whether the user still sees all channels of the token. The view answers those who lost one.
ACCESS_SQL = f"""
EXISTS (SELECT FROM accounts_user u WHERE u.id = %(user)s AND {SEES_CHATS_CONDITION} AND (NOT EXISTS (
    SELECT unnest(%(channels)s::bigint[])
    EXCEPT SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id
) OR {SEES_ALL_CONDITION}))
"""
UNCHANGED_SQL = f"""
SELECT EXISTS (SELECT FROM django_session WHERE session_key = %(session)s AND expire_date > clock_timestamp())
   AND {ACCESS_SQL}
   AND coalesce({versions.LIST_VERSION_SQL}, 'none') = %(list)s
   AND NOT EXISTS (SELECT FROM bridge_closingreminder WHERE id > %(last_warning)s AND (assignee_id = %(user)s
                   OR (assignee_id IS NULL AND chat_channel_id = ANY(%(channels)s)
                       AND {waits_for_condition("bridge_closingreminder.team_id", "%(user)s")})))
{notifications.NOTHING_NEW_SQL}
"""
# An unread message in the open chat is reported until the page marks it as seen, unless an operator marked the chat as
# unread.
UNCHANGED_CHAT_SQL = f"""
   AND (SELECT unread = 0 OR unread_marked_at IS NOT NULL FROM bridge_conversation
        WHERE id = %(chat)s AND chat_channel_id = ANY(%(channels)s))
   AND {versions.THREAD_VERSION_SQL} = %(thread)s
"""


@dataclass(frozen=True)
class PollingUser:
    """The fields of a user that the presence mark needs."""

    pk: int
    name: str

    def get_full_name(self) -> str:
        return self.name


def fast_poll_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer idle polls with 204. Middleware that runs before nearly all others."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == PATH and request.method == "GET" and is_up_to_date(request):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
        return get_response(request)

    return middleware


def issue_poll_token(request: HttpRequest, channels: Sequence[int]) -> str:
    """Issue a poll token for the current user and session."""
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
    """Return whether the page is current. False also if the fast path cannot decide."""
    token = _read_poll_token(request)
    page = request.GET
    chat = parse_int(page.get("chat"))
    if token is None or ("chat" in page and chat is None) or page.get("notified") == "":
        return False
    values = {
        "session": request.COOKIES[settings.SESSION_COOKIE_NAME],
        "user": token["user"],
        "channels": token["channels"],
        "list": page.get("list", page.get("counters", "")).replace("\0", ""),
        "last_warning": parse_int(page.get("last_warning")) or 0,
        "last_notification": notifications.get_last_notification(page.get("notified", "")),
        "chat": chat,
        "thread": page.get("thread", "").replace("\0", ""),
    }
    with connection.cursor() as cursor:
        cursor.execute(UNCHANGED_SQL if chat is None else UNCHANGED_SQL + UNCHANGED_CHAT_SQL, values)
        if cursor.fetchone() != (True,):
            return False
    if "seen" in page:
        availability.record_seen(token["user"])
    return chat is None or _presence_version(request, chat, PollingUser(token["user"], token["name"])) == page.get(
        "others", ""
    )


def _presence_version(request: HttpRequest, chat: int, reader: PollingUser) -> str:
    """Record the heartbeat like the view, and return the version of the presence of others."""
    is_here, writes = "away" not in request.GET, "writes" in request.GET
    return presence.record_heartbeat(chat, user=reader, writes=writes, is_here=is_here).version


def _read_poll_token(request: HttpRequest) -> dict[str, Any] | None:
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    text = request.headers.get("Okno-Poll-Token", "")
    if not session or not text:
        return None
    try:
        token: dict[str, Any] = signing.loads(text, salt=SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature:
        return None
    return token if constant_time_compare(token["session"], _fingerprint(session)) else None


def _fingerprint(session_key: str) -> str:
    return salted_hmac(SALT, session_key).hexdigest()[:24]
