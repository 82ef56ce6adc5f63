"""Requests inside a chat, and who is responsible: changed by people, told to those who track it."""

from __future__ import annotations

from django.db import connection, transaction

from . import doorbell, tracking, windows
from .conversations import lock
from .models import Conversation, Ticket


@transaction.atomic
def assign(conversation_id: int, *, user_id: int | None, by: int | None = None) -> Conversation:
    """Make somebody responsible for a chat and its live request."""
    conversation = lock(conversation_id)
    before = conversation.assignee_id
    if before == user_id:
        return conversation
    conversation.assignee_id = user_id
    conversation.save(update_fields=["assignee"])
    ticket = live_ticket(conversation)
    if ticket is not None:
        ticket.assignee_id = user_id
        ticket.save(update_fields=["assignee", "updated_at"])
        _changed(ticket, target="assignee_id", value=user_id, old_value=before, user_id=by)
    return conversation


@transaction.atomic
def set_ticket_status(ticket_id: int, *, status: int, by: int | None = None) -> Ticket:
    """Change a request's status; a closed one makes the contact's next message a new request.

    Raises ValueError when the request would come to life beside another live one.
    """
    ticket = Ticket.objects.select_related("conversation__chat_channel", "conversation__contact").get(pk=ticket_id)
    lock(ticket.conversation_id)
    ticket.refresh_from_db(fields=["status", "closed_at"])
    before = ticket.status
    if before == status:
        return ticket
    revives = before in Ticket.ENDED and status not in Ticket.ENDED
    if revives and live_ticket(ticket.conversation) is not None:
        raise ValueError("another request of this chat is live")
    ticket.status = status
    ticket.closed_at = windows.database_now() if status in (*Ticket.ENDED, Ticket.Status.SOLVED) else None
    ticket.save(update_fields=["status", "closed_at", "updated_at"])
    live = live_ticket(ticket.conversation)
    note_status(ticket.conversation_id, live.status if live else status)
    _changed(ticket, target="status_id", value=status, old_value=before, user_id=by)
    return ticket


def note_status(conversation_id: int, status: int) -> None:
    """Where the chat's request stands now, kept at the chat for the lists. The caller holds the chat's lock."""
    Conversation.objects.filter(pk=conversation_id).update(request_status=status)


def live_ticket(conversation: Conversation) -> Ticket | None:
    return Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED).first()


def _changed(ticket: Ticket, *, target: str, value: object, old_value: object, user_id: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('bridge_change_id')")
        change_id = cursor.fetchone()[0]
    if tracking.ticket_changed(
        ticket, target=target, value=value, old_value=old_value, user_id=user_id, change_id=change_id
    ):
        doorbell.ring_after_commit(doorbell.OUTBOUND)
