"""The next chat that needs a reply, for the key N: chats of colleagues come last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.desk.live import presence
from bridge.models import Conversation

from . import listing, queries

MAX_READ = 200  # waiting chats, in the list's order


@dataclass(frozen=True, kw_only=True)
class NextChat:
    """``note``: says that chats of colleagues were skipped, or that only those are left."""

    chat: int | None = None
    note: str = ""


def find_next(channels: Sequence[int], *, user: Any, now: datetime, current: int | None) -> NextChat:
    """Find the chat that follows ``current``, or the first one.

    A chat is left to a colleague to whom it is assigned, who writes in it, or who looks at it while nobody has it.
    """
    waiting, skipped = _find_waiting(channels, user=user, now=now), 0
    if len(waiting) == MAX_READ and not _find_free(waiting, user=user, current=current):
        further = _find_waiting(channels, queries.FREE_SQL, user=user, now=now)
        waiting, skipped = (further, MAX_READ) if further else (waiting, 0)
    after = waiting.index(current) + 1 if current in waiting else 0
    waiting = [pk for pk in waiting[after:] + waiting[:after] if pk != current]
    if not waiting:
        return NextChat()
    free = _find_free(waiting, user=user, current=current)
    if not free:
        present = presence.find_colleagues(waiting, user=user)
        quiet = next((pk for pk in waiting if pk not in present or not present[pk].writing), waiting[0])
        return NextChat(chat=quiet, note=_("Colleagues have all chats that need a reply. This is one of them."))
    skipped += waiting.index(free[0])
    words = ngettext(
        "Skipped %(number)d chat that a colleague has.", "Skipped %(number)d chats that colleagues have.", skipped
    )
    return NextChat(chat=free[0], note=words % {"number": skipped} if skipped else "")


def _find_waiting(channels: Sequence[int], *conditions: str, user: Any, now: datetime) -> list[int]:
    params = listing.ChatListParams(tab=listing.WAITING)
    return listing.find_chats(params, conditions, channels=channels, user=user, now=now, limit=MAX_READ)


def _find_free(waiting: Sequence[int], *, user: Any, current: int | None) -> list[int]:
    """Return the chats that no colleague has, in the same order."""
    rows = Conversation.objects.filter(pk__in=waiting).values_list("pk", "assignee_id")
    assignees = {pk: assignee for pk, assignee in rows if assignee in (None, user.pk) and pk != current}
    present = presence.find_colleagues(list(assignees), user=user)
    return [
        pk
        for pk in waiting
        if pk in assignees and not (pk in present and (present[pk].writing or assignees[pk] is None))
    ]
