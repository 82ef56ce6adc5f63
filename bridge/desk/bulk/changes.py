"""Parts that the bulk actions on requests and on chats share: whom to assign to, and the undo token.

A bulk action changes each chat in its own short transaction and through the same functions as a single change, so that
subscribers get every event and the thread every line. A signed token lists the changes; undo reads it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from django.db.models import Q

from bridge.conversations import tickets
from bridge.desk import access
from bridge.desk.parameters import parse_int
from bridge.models import Conversation, Ticket
from channels_setup.models import ChatChannel, Team

MAX_CHANGES = 200  # at most this many at once
SALT = "bridge.desk.views.bulk_actions.with_teams"  # tokens of the release before have no teams
CHATS_SALT = "bridge.desk.bulk.chats"
PARTS_SALT = "bridge.desk.bulk.parts"
PART = 25  # chats of one request of a script: a second or less
UNDO_SECONDS = 15 * 60
STATUS, ASSIGNEE = "status", "assignee"
TEAM_PREFIX = "team-"  # of a team's number in the list of assignees

Value = Any  # a status, or [user ID, team ID]
Change = tuple[int, Value, Value]  # ID of a request or chat, its value before and after


def read_assignee(text: str) -> tuple[int | None, int | None]:
    """Return the IDs of the user and the team. 0 matches none."""
    if text.startswith(TEAM_PREFIX):
        return None, parse_int(text.removeprefix(TEAM_PREFIX)) or 0
    return ((parse_int(text) or 0) if text else None), None


def find_assignable_channels(
    channels: Collection[int], *, user: Any, user_id: int | None, team_id: int | None
) -> set[int]:
    """Return those of the chat channels whose chats the user may assign to this user or team, with one query."""
    if user_id is not None:
        people = access.list_operators().filter(pk=user_id)
        if user_id == user.pk:
            return set(channels) if people.exists() else set()
        served = ChatChannel.objects.filter(pk__in=channels, operators__in=people)
        return set(served.values_list("pk", flat=True))
    if team_id is not None:
        served_by = Team.chat_channels.through.objects.filter(team=team_id, chatchannel__in=channels)
        return set(served_by.values_list("chatchannel", flat=True))
    return set(channels)


def can_restore_assignee(conversation_id: int, value: Value) -> bool:
    """Return whether the user and the team of an undo still exist and serve the chat."""
    user_id, team_id = value
    person = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    chat = Conversation.objects.filter(pk=conversation_id)
    serves = user_id is None or (person is not None and chat.visible_to(person).exists())
    team = Q(pk=team_id, chat_channels__conversations=conversation_id)
    return serves and (team_id is None or Team.objects.filter(team).exists())


def change_status(ticket_id: int, status: int | None, *, by: int | None) -> bool:
    """Change the status of one request. Return False if the chat already has another live request."""
    try:
        tickets.set_ticket_status(ticket_id, status=status or Ticket.Status.OPEN, by=by)
    except ValueError:
        return False
    return True


def sign_changes(user: Any, *, field: str, changed: list[Change], salt: str = SALT, **more: Any) -> str:
    """Return the token that undoes the changes. ``more``: what the page shows of them; ``salt``: of the kind of IDs."""
    values = {"user": user.pk, "field": field, "changed": changed} | more
    return signing.dumps(values, salt=salt, compress=True)


def load_changes(user: Any, text: str, *, salt: str = SALT) -> dict[str, Any] | None:
    """Return what the token lists. None if it is invalid, expired, or another user's."""
    try:
        values: dict[str, Any] = signing.loads(text, salt=salt, max_age=UNDO_SECONDS)
    except signing.BadSignature:
        return None
    return values if values["user"] == user.pk else None
