"""Notifications for open pages: new messages in chats that concern the user, and what `bridge.notifications` recorded.

A page sends its cursor with each poll: the newest notification and message that it knows. New messages follow from the
chats, so that a message costs nothing for operators whose pages are closed. Answers overlap by a few seconds, because a
transaction may commit after a later one. Pages recognize what they have shown by its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse
from django.utils.translation import gettext as _

from bridge.conversations import availability
from bridge.conversations.assignments import waits_for_condition
from bridge.desk import notification_settings, presentation
from bridge.message_text import render_preview
from bridge.models import Conversation, Notification, NotificationKind, NotificationSettings

OVERLAP = timedelta(seconds=10)
CURSOR_AGE = timedelta(seconds=30)  # an older one is renewed, so that the end of "do not disturb" brings nothing old
MAX_ITEMS = 20
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Kind, Scope = NotificationKind, NotificationSettings.Scope


def concerns_condition(*, scope: str, user: str) -> str:
    """Return the SQL condition that new messages of the chat ``c`` concern a user with this scope of their settings.

    Unassigned chats wait for their team, or for all operators of the channel. ``scope``, ``user``: SQL.
    """
    return f"""CASE {scope} WHEN '{Scope.ALL}' THEN TRUE WHEN '{Scope.MINE}' THEN c.assignee_id = {user}
    ELSE c.assignee_id = {user} OR (c.assignee_id IS NULL AND {waits_for_condition("c.team_id", user)}) END"""


NEW_MESSAGES_SQL = f"""
SELECT c.id FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
    SELECT id, assignee_id, team_id, last_direction, last_message_at FROM bridge_conversation
    WHERE chat_channel_id = channel.id AND last_message_at > %(since)s
    ORDER BY last_message_at DESC, id DESC LIMIT {MAX_ITEMS}) c
WHERE c.last_direction = 'inbound' AND {concerns_condition(scope="%(scope)s", user="%(user)s")}
ORDER BY c.last_message_at DESC LIMIT {MAX_ITEMS}
"""
# Condition of the fast path. New messages change the list's version.
NOTHING_NEW_SQL = """
   AND NOT EXISTS (SELECT FROM bridge_notification WHERE user_id = %(user)s AND id > %(last_notification)s)
"""
KNOWS_ALL = 2**62  # for pages that show no notifications


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The newest notification and message that a page knows."""

    notification: int
    message: datetime

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor that a page has sent, or None for a page that knows nothing yet."""
        notification, _colon, message = text.partition(":")
        if not (notification.isascii() and notification.isdecimal() and message.isascii() and message.isdecimal()):
            return None
        if len(notification) > 18 or len(message) > 17:
            return None
        return cls(notification=int(notification), message=EPOCH + int(message) * MICROSECOND)

    def __str__(self) -> str:
        return f"{self.notification}:{(self.message - EPOCH) // MICROSECOND}"


def get_last_notification(sent: str) -> int:
    """Return the newest notification that a page knows, for the fast path."""
    cursor = Cursor.parse(sent)
    return KNOWS_ALL if cursor is None else cursor.notification


def build_notifications(user: Any, channels: Sequence[int], sent: str, *, now: datetime) -> dict[str, Any] | None:
    """Return the new cursor and what to show since the cursor ``sent``, or None if nothing has changed."""
    cursor = Cursor.parse(sent)
    newest = Notification.objects.filter(user=user.pk).order_by("-pk").values_list("pk", flat=True).first() or 0
    if cursor is None:
        # Without overlap: what was there before the page is not new.
        return {"cursor": str(Cursor(notification=newest, message=now + OVERLAP)), "items": []}
    items: list[dict[str, Any]] = []
    chosen = notification_settings.get_settings(user)
    if availability.get_chosen_status(user) != availability.Status.DND:
        items = _list_recorded(user, channels, cursor)
        if Kind.MESSAGE not in chosen.muted_kinds:
            items += _list_messages(user, channels, cursor, scope=chosen.scope)
    items = [item for item in items if item["kind"] not in chosen.muted_kinds]
    if not chosen.shows_text:
        items = [without_text(item) for item in items]
    if not items and newest <= cursor.notification and now - cursor.message < CURSOR_AGE:
        return None
    return {"cursor": str(Cursor(notification=newest, message=now)), "items": items[:MAX_ITEMS]}


def _list_recorded(user: Any, channels: Sequence[int], cursor: Cursor) -> list[dict[str, Any]]:
    rows = Notification.objects.filter(user=user.pk, conversation__chat_channel__in=list(channels))
    recent = rows.filter(created_at__gt=cursor.message - OVERLAP).values("pk")
    new = rows.filter(pk__gt=cursor.notification) | rows.filter(pk__in=recent)
    found = new.select_related("conversation__contact", "actor").order_by("-pk")[:MAX_ITEMS]
    return [describe(row) for row in found]


def describe(row: Notification) -> dict[str, Any]:
    """Return a recorded notification as pages and devices show it."""
    name = presentation.contact_name(row.conversation.contact)
    actor = presentation.person_name(row.actor) if row.actor else ""
    if row.kind == Kind.MENTIONED:
        title = _("%(actor)s mentioned you: %(name)s") % {"actor": actor, "name": name}
    elif row.kind == Kind.WOKEN:
        title = _("Snooze is over: %(name)s") % {"name": name}
    elif row.kind == Kind.ASSIGNED and actor:
        title = _("%(actor)s assigned you a chat: %(name)s") % {"actor": actor, "name": name}
    elif row.kind == Kind.ASSIGNED:
        title = _("A chat is assigned to you: %(name)s") % {"name": name}
    else:
        title = name
    # Words of a note that the row does not name would outlive the note. The release before writes such rows.
    text = "" if row.kind == Kind.MENTIONED and row.note_id is None else row.text
    return build_item(row.kind, row.conversation_id, key=f"n{row.pk}", title=title, text=text)


def _list_messages(user: Any, channels: Sequence[int], cursor: Cursor, *, scope: str) -> list[dict[str, Any]]:
    values = {"user": user.pk, "channels": list(channels), "since": cursor.message - OVERLAP, "scope": scope}
    with connection.cursor() as db:
        db.execute(NEW_MESSAGES_SQL, values)
        ids = [row[0] for row in db.fetchall()]
    if not ids:
        return []
    chats = Conversation.objects.filter(pk__in=ids).select_related("contact").order_by("-last_message_at")
    return [
        build_item(
            Kind.MESSAGE,
            chat.pk,
            key=f"m{chat.pk}:{(chat.last_message_at - EPOCH) // MICROSECOND}",
            title=presentation.contact_name(chat.contact),
            text=render_preview(chat.last_text),
        )
        for chat in chats
    ]


def build_item(kind: str, chat: int, *, key: str, title: str, text: str) -> dict[str, Any]:
    """``key`` identifies what happened, so that it is shown once. Two items with one tag replace each other."""
    url = reverse("chat", args=[chat])
    return {
        "kind": str(kind),
        "chat": chat,
        "key": key,
        "tag": f"okno-{chat}",
        "title": title,
        "text": text,
        "url": url,
    }


def without_text(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item for users who want no text of messages in notifications."""
    return item | {"text": _("New message") if item["kind"] == Kind.MESSAGE else ""}


def closing_title(name: str, left: timedelta) -> str:
    values = {"name": name, "left": presentation.format_duration(left)}
    return _("%(name)s: the window closes in %(left)s") % values


def build_test_item() -> dict[str, Any]:
    return {
        "kind": "test",
        "chat": None,
        "key": "test",
        "tag": "okno-test",
        "title": _("Notifications work"),
        "text": _("This is how Okno notifies you of new messages."),
        "url": reverse("desk-settings"),
    }
