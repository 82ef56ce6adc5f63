"""Activity lines of a chat: what was done with it, by whom. The thread shows them between the messages.

Call ``record_activity`` where the change is stored, in the same transaction. A new kind needs a line in KINDS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bridge.models import ConversationActivity, Ticket

# Kind → sentence without its author: the thread adds "· Olga". Values are those of ``details``, and:
# "name": display name of the user or team in ``details``; "number": the request; "status": its label.
KINDS: dict[str, Any] = {
    "assigned": _("Assigned to %(name)s"),
    "taken": _("%(name)s took the chat"),
    "answered": _("%(name)s answered first and took the chat"),
    "auto_assigned": _("Assigned to %(name)s automatically"),
    "snoozed": _("Snoozed until %(until)s"),
    "snoozed_until_reply": _("Snoozed until the client writes"),
    "woken": _("The snooze ended"),
    "woken_by_client": _("The client wrote, so the snooze ended"),
    "woken_before_closing": _("The snooze ended, because the window closes soon"),
    "macro": _("Macro “%(macro)s”"),
    "unassigned": _("Unassigned from %(name)s"),
    "released": _("Unassigned from %(name)s, who can no longer answer here"),
    "team": _("Team: %(name)s"),
    "team_removed": _("Removed from team %(name)s"),
    "request_assigned": _("Request № %(number)s assigned to %(name)s"),
    "request_unassigned": _("Request № %(number)s unassigned from %(name)s"),
    "request_opened": _("Request № %(number)s opened"),
    "status": _("Request № %(number)s: %(status)s"),
    "reopened": _("Request № %(number)s reopened"),
    "reopened_by_client": _("Request № %(number)s reopened: the client wrote"),
    "tagged": pgettext_lazy("request", "Tags added: %(tags)s"),
    "untagged": pgettext_lazy("request", "Tags removed: %(tags)s"),
    "opted_out": _("The client opted out of all templates"),
    "opted_out_of_marketing": _("The client opted out of marketing"),
    "opted_in": _("The client agreed to get messages again"),
    "chat_started": _("Chat started with a template"),
    "client_tagged": pgettext_lazy("client", "Client tag added: %(tags)s"),
    "client_untagged": pgettext_lazy("client", "Client tag removed: %(tags)s"),
}

# An erased person's chat gets no lines: their details may name the person.
INSERT_SQL = """
INSERT INTO bridge_conversationactivity (conversation_id, kind, actor_id, ticket_id, details)
SELECT c.id, new.kind, new.actor, new.ticket, new.details
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::jsonb[])
     WITH ORDINALITY AS new (chat, kind, actor, ticket, details, place)
JOIN bridge_conversation c ON c.id = new.chat AND NOT c.is_erased ORDER BY new.place
"""


@dataclass(frozen=True, kw_only=True)
class NewActivity:
    """An activity line to insert."""

    conversation_id: int
    kind: str
    actor_id: int | None = None
    ticket_id: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


def record_activity(
    conversation_id: int, kind: str, *, actor: int | Any = None, ticket_id: int | None = None, **details: Any
) -> None:
    """Add a line to the chat's thread. ``actor``: a user or a user ID; None: a program, the client or the portal.

    ``details``: ``user`` and ``team`` are IDs, so that a line shows the present name.
    """
    actor_id = actor if actor is None or isinstance(actor, int) else actor.pk
    record_activities(
        [
            NewActivity(
                conversation_id=conversation_id, kind=kind, actor_id=actor_id, ticket_id=ticket_id, details=details
            )
        ]
    )


def record_activities(lines: Iterable[NewActivity]) -> None:
    """Add lines to several threads with one statement."""
    lines = list(lines)
    unknown = {line.kind for line in lines} - KINDS.keys()
    if unknown:
        raise ValueError(f"unknown kind of activity: {', '.join(sorted(unknown))}")
    if not lines:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT_SQL,
            [
                [line.conversation_id for line in lines],
                [line.kind for line in lines],
                [line.actor_id for line in lines],
                [line.ticket_id for line in lines],
                [json.dumps(line.details) for line in lines],
            ],
        )


def render_line(activity: ConversationActivity, *, name: str = "") -> str:
    """Return the sentence of a line. ``name``: of the user or team in its details."""
    details = activity.details
    status = details.get("status")
    values = {
        **details,
        "name": name,
        "number": details.get("number", activity.ticket_id or ""),
        "status": Ticket.Status(status).label if status in Ticket.Status.values else status or "",
        "tags": ", ".join(details.get("tags") or ()),
        "until": _format_time(details.get("until")),
    }
    try:
        return str(KINDS[activity.kind]) % values
    except KeyError:  # a kind or a value of a newer release
        return activity.kind


def _format_time(value: Any) -> str:
    """Format an ISO time as ``1 December, 14:02`` in the reader's time zone."""
    moment = parse_datetime(value) if isinstance(value, str) else None
    return date_format(timezone.localtime(moment), "j E, H:i") if moment else ""
