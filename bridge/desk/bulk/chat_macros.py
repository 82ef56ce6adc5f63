"""Macros for many chats: those that write nothing to clients, each chat compared with what its row showed."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from bridge import service_window
from bridge.models import Conversation, Macro
from channels_setup.models import ChatChannel

from .results import Skip
from .row_states import ShownState, has_client_written


def list_bulk_macros(user: Any) -> list[Macro]:
    """Return the user's macros that write nothing to a client: their own, and the shared ones of their channels."""
    channels = ChatChannel.objects.all().visible_to(user)
    mine = Q(chat_channels=None) | Q(chat_channels__in=channels)
    rows = Macro.objects.filter(mine, Q(owner=None) | Q(owner=user.pk), is_used=True, reply_text="").distinct()
    return list(rows.select_related("assign_user", "assign_team").prefetch_related("chat_channels").order_by("name"))


def find_obstacle(macro: Macro, chat: Conversation, shown: ShownState, *, user: Any) -> Skip | None:
    """Return why the macro must not run in this locked chat: the same reasons as of its single actions."""
    ends_work = macro.snooze or macro.status in service_window.RESOLVED_STATUSES
    if ends_work and has_client_written(chat, shown):
        return Skip.WROTE
    current = chat.assignee_id or 0
    if macro.assignment and shown.assignee not in (None, current) and current != (_get_assignee_id(macro, user) or 0):
        return Skip.TAKEN
    return None


def _get_assignee_id(macro: Macro, user: Any) -> int | None:
    if macro.assignment == Macro.Assignment.ME:
        return int(user.pk)
    return macro.assign_user_id if macro.assignment == Macro.Assignment.USER else None
