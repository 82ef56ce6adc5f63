"""Requests of a chat and their assignees: changes by users and programs, with events for subscribers.

A chat may have several open requests (see ``Ticket``). The newest open one is current: messages go into it, and its
assignee and team are the chat's.

A request of a team without an assignee waits for the team's members. The team stays when one of them takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection, transaction

from bridge import notifications, service_window, ticket_properties, wakeups
from bridge.fanout import subscribers
from bridge.models import Conversation, Delivery, NotificationKind, Ticket

from .activity import record_activity
from .receiving import lock_conversation

UNCHANGED: Any = object()  # keeps the team


@transaction.atomic
def assign_chat(
    conversation_id: int,
    *,
    user_id: int | None,
    team_id: int | None = UNCHANGED,
    by: int | None = None,
    line: str | None = "",
) -> Conversation:
    """Assign a chat and its current request to a user and a team; None unassigns them.

    If the current request belongs to another user, unassigning the chat keeps the request and gives them the chat.
    ``line``: kind of the activity line, if it is not the usual one; None: no line.
    """
    conversation = lock_conversation(conversation_id)
    ticket = get_current_ticket(conversation)
    if ticket is not None and user_id is None and ticket.assignee_id != conversation.assignee_id:
        user_id = ticket.assignee_id
    if team_id is UNCHANGED:
        team_id = conversation.team_id if ticket is None else ticket.team_id
    if ticket is not None and (ticket.assignee_id, ticket.team_id) != (user_id, team_id):
        assign_ticket(ticket.pk, user_id=user_id, to_group=False, team_id=team_id, by=by, line=line)
        conversation.refresh_from_db(fields=["assignee", "team"])
    return _set_chat_assignee(conversation, user_id, team_id, by=by, line=line)


@transaction.atomic
def assign_ticket(
    ticket_id: int,
    *,
    user_id: int | None,
    to_group: bool | None = None,
    team_id: int | None = UNCHANGED,
    by: int | None = None,
    line: str | None = "",
) -> Ticket:
    """Assign one request to a user, to a team, or to all operators of the chat channel.

    The chat's assignee and team follow if this is the current request or no request is open. ``to_group``: None keeps
    the group assignment; True removes the team. A team is no group of the event format, so its change is no event.
    """
    ticket = _get_ticket(ticket_id)
    conversation = lock_conversation(ticket.conversation_id)
    ticket.refresh_from_db(fields=["assignee", "assigned_to_group", "team", "status"])
    before, group_before, team_before = ticket.assignee_id, get_group_id(ticket), ticket.team_id
    ticket.assignee_id = user_id
    if to_group or team_id is not UNCHANGED:
        ticket.team_id = None if to_group else team_id
    ticket.assigned_to_group = ticket.assigned_to_group if to_group is None else to_group
    changes = [_describe_change("assignee_id", user_id, before)] if user_id != before else []
    if get_group_id(ticket) != group_before:
        changes.append(_describe_change("group", get_group_id(ticket), group_before))
    current = get_current_ticket(conversation)
    if current is None or current.pk == ticket.pk:
        _set_chat_assignee(conversation, user_id, ticket.team_id, by=by, line=line)
    elif line is not None and user_id != before:
        kind, person = ("request_assigned", user_id) if user_id else ("request_unassigned", before)
        record_activity(conversation.pk, kind, actor=by, ticket_id=ticket.pk, user=person)
    if changes or ticket.team_id != team_before:
        ticket.save(update_fields=["assignee", "assigned_to_group", "team", "updated_at"])
    if changes:
        _publish_changes(ticket, changes, user_id=by)
    return ticket


@transaction.atomic
def set_ticket_status(ticket_id: int, *, status: int, by: int | None = None, allow_parallel: bool = False) -> Ticket:
    """Change a request's status. After closing, the contact's next message opens a new request.

    The chat's assignee becomes that of the request that is current afterwards. A reopened request goes to the chat's
    assignee, like a new one. Raises ValueError if another request is open, unless ``allow_parallel`` is set.
    """
    ticket = _get_ticket(ticket_id)
    conversation = lock_conversation(ticket.conversation_id)
    ticket.refresh_from_db(fields=["status", "closed_at", "parallel", "assignee", "assigned_to_group", "team"])
    before = ticket.status
    if before == status:
        return ticket
    changes = [_describe_change("status_id", status, before)]
    reopens = before in Ticket.ENDED and status not in Ticket.ENDED
    if reopens and get_current_ticket(conversation) is not None:
        if not allow_parallel:
            raise ValueError("another request of this chat is open")
        ticket.parallel = True
    elif reopens and not allow_parallel and ticket.assignee_id != conversation.assignee_id:
        changes.append(_describe_change("assignee_id", conversation.assignee_id, ticket.assignee_id))
        ticket.assignee_id, ticket.assigned_to_group = conversation.assignee_id, False
    if reopens and not ticket.parallel and not ticket.assigned_to_group:
        ticket.team_id = conversation.team_id
    ticket.status = status
    ticket.closed_at = _compute_closed_at(status)
    ticket.save(
        update_fields=["status", "closed_at", "parallel", "assignee", "assigned_to_group", "team", "updated_at"]
    )
    kind = "reopened" if is_reopened(before, status) else "status"
    record_activity(conversation.pk, kind, actor=by, ticket_id=ticket.pk, number=ticket.pk, status=int(status))
    current = get_current_ticket(conversation)
    if current is not None:
        _set_chat_assignee(conversation, current.assignee_id, current.team_id, by=by)
    save_request_status(conversation.pk, current.status if current else status)
    _publish_changes(ticket, changes, user_id=by)
    return ticket


@transaction.atomic
def set_ticket_properties(ticket_id: int, properties: Mapping[str, Any], *, by: int | None = None) -> Ticket:
    """Change request properties (see ``ticket_properties``). Publishes one event for all changes."""
    ticket = _get_ticket(ticket_id)
    lock_conversation(ticket.conversation_id)
    ticket.refresh_from_db(fields=ticket_properties.COLUMNS)
    tags_before = list(ticket.tags)
    changes = ticket_properties.apply_properties(ticket, properties)
    if changes:
        ticket.save(update_fields=[*ticket_properties.COLUMNS, "updated_at"])
        added = [tag for tag in ticket.tags if tag not in tags_before]
        removed = [tag for tag in tags_before if tag not in ticket.tags]
        for kind, tags in (("tagged", added), ("untagged", removed)):
            if tags:
                record_activity(ticket.conversation_id, kind, actor=by, ticket_id=ticket.pk, tags=tags)
        _publish_changes(ticket, changes, user_id=by)
    return ticket


def open_ticket(
    conversation: Conversation,
    *,
    text: str,
    status: int | None = None,
    properties: Mapping[str, Any],
    assignee_id: int | None,
    to_group: bool = False,
) -> Ticket:
    """Open another request in a chat, also if one is open. The caller holds the chat's lock."""
    status = Ticket.Status.NEW if status is None else status
    ticket = Ticket(
        conversation=conversation,
        status=status,
        assignee_id=assignee_id,
        assigned_to_group=to_group,
        team_id=None if to_group else conversation.team_id,
        first_text=text,
        parallel=get_current_ticket(conversation) is not None,
        closed_at=_compute_closed_at(status),
    )
    ticket_properties.apply_properties(ticket, properties)
    ticket.save(force_insert=True)
    record_activity(conversation.pk, "request_opened", ticket_id=ticket.pk, number=ticket.pk)
    if status not in Ticket.ENDED:
        save_request_status(conversation.pk, status)
        _set_chat_assignee(conversation, assignee_id, ticket.team_id)
    if Delivery.objects.bulk_create(subscribers.build_new_ticket_deliveries(ticket)):
        wakeups.notify_after_commit(wakeups.EVENTS)
    return ticket


def _set_chat_assignee(
    conversation: Conversation,
    user_id: int | None,
    team_id: int | None,
    *,
    by: int | None = None,
    line: str | None = "",
) -> Conversation:
    """Set the chat's assignee and team to those of its current request. The caller holds the chat's lock.

    A new assignee is notified, except if they took the chat themselves.
    """
    before, team_before = conversation.assignee_id, conversation.team_id
    if user_id is not None and before != user_id:
        notifications.notify([user_id], NotificationKind.ASSIGNED, conversation.pk, actor=by)
    if (before, team_before) != (user_id, team_id):
        conversation.assignee_id, conversation.team_id = user_id, team_id
        conversation.save(update_fields=["assignee", "team"])
    if line is not None and user_id != before:
        kind = ("taken" if user_id == by else "assigned") if user_id else "unassigned"
        record_activity(conversation.pk, line or kind, actor=by, user=user_id or before)
    if team_id != team_before:
        kind = "team" if team_id else "team_removed"
        record_activity(conversation.pk, kind, actor=by, team=team_id or team_before)
    return conversation


def is_reopened(before: int, status: int) -> bool:
    """Return whether a change of status makes a finished request active again."""
    return before in service_window.RESOLVED_STATUSES and status in (Ticket.Status.OPEN, Ticket.Status.NEW)


def save_request_status(conversation_id: int, status: int) -> None:
    """Copy the request's status to the chat, for chat lists. Its end ends a snooze.

    The caller holds the chat's lock.
    """
    ends_snooze = {"snoozed_until": None} if status in service_window.RESOLVED_STATUSES else {}
    Conversation.objects.filter(pk=conversation_id).update(request_status=status, **ends_snooze)


def get_current_ticket(conversation: Conversation) -> Ticket | None:
    """Return the current request (the newest open one), or None."""
    return Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED).order_by("-pk").first()


def get_group_id(ticket: Ticket) -> int | None:
    """Return the group of a request, or None. A chat channel's operators are a group with its ID."""
    return ticket.conversation.chat_channel_id if ticket.assigned_to_group else None


def _get_ticket(ticket_id: int) -> Ticket:
    return Ticket.objects.select_related("conversation__chat_channel", "conversation__contact").get(pk=ticket_id)


def _compute_closed_at(status: int) -> Any:
    return service_window.database_now() if status in service_window.RESOLVED_STATUSES else None


def _describe_change(target: str, value: Any, old_value: Any) -> dict[str, Any]:
    return {"target": target, "value": value, "old_value": old_value}


def _publish_changes(ticket: Ticket, changes: list[dict[str, Any]], *, user_id: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('bridge_change_id')")
        change_id = cursor.fetchone()[0]
    if subscribers.queue_ticket_change(ticket, changes=changes, user_id=user_id, change_id=change_id):
        wakeups.notify_after_commit(wakeups.EVENTS)
