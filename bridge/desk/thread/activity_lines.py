"""Activity lines and notes of a page of a thread, between its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from bridge.conversations import activity
from bridge.desk import presentation
from bridge.models import Conversation, ConversationActivity
from channels_setup.models import Team

from .periods import load_period

MAX_LINES = 200  # of one page
SHOWN_LINES = 2  # a longer run of lines is folded


@dataclass(frozen=True, kw_only=True)
class ActivityLine:
    """One line: what was done, by whom, when."""

    pk: int
    kind: str
    sentence: str
    actor: str
    at: str
    moment: datetime
    ticket_id: int | None
    status: int | None  # of the request, if the line is about it


def load_lines(
    conversation: Conversation, *, since: datetime | None, before: datetime | None, now: datetime
) -> list[ActivityLine]:
    """Load the lines of a period, oldest first. Without lines, one query."""
    found = load_period(ConversationActivity, conversation, since=since, before=before, limit=MAX_LINES)
    if not found:
        return []
    people, teams = _load_people(found), _load_teams(found)
    return [
        ActivityLine(
            pk=row.pk,
            kind=row.kind,
            sentence=activity.render_line(row, name=_find_name(row, people, teams)),
            # "Olga took the chat" names its author already.
            actor="" if row.actor_id == row.details.get("user") else people.get(row.actor_id or 0, ""),
            at=presentation.format_moment(row.created_at, now=now),
            moment=row.created_at,
            ticket_id=row.ticket_id,
            status=row.details.get("status"),
        )
        for row in found
    ]


def _load_people(rows: Sequence[ConversationActivity]) -> dict[int, str]:
    ids = {number for row in rows for number in (row.actor_id, row.details.get("user")) if number}
    return {user.pk: presentation.person_name(user) for user in get_user_model().objects.filter(pk__in=ids)}


def _load_teams(rows: Sequence[ConversationActivity]) -> dict[int, str]:
    ids = {row.details["team"] for row in rows if row.details.get("team")}
    return dict(Team.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def _find_name(row: ConversationActivity, people: dict[int, str], teams: dict[int, str]) -> str:
    """Return the name of the user or team in the details."""
    if row.details.get("team"):
        return teams.get(row.details["team"], _("a deleted team"))
    return people.get(row.details.get("user") or 0) or row.details.get("name") or _("a deleted user")
