"""Requests of an external helpdesk, mirrored here: number, status, assignee, closing and reopening."""

from __future__ import annotations

from django.db.models.functions import Now

from bridge.conversations import tickets
from channels_setup.providers.base.helpdesk import RemoteIds, TicketState

from ..models import Conversation, Delivery, HelpdeskChat, Ticket


def has_new_ids(link: HelpdeskChat, known: RemoteIds) -> bool:
    """Return whether the helpdesk reports IDs that we do not have."""
    told = {name: getattr(known, name) for name in ("chat_id", "client_id", "ticket_id")}
    return any(value and value != getattr(link, name) for name, value in told.items())


def save_remote_ids(link: HelpdeskChat, known: RemoteIds) -> None:
    """Store IDs from a response or an event. IDs that it does not mention are kept."""
    changed = [
        name for name in ("chat_id", "client_id") if (value := getattr(known, name)) and value != getattr(link, name)
    ]
    for name in changed:
        setattr(link, name, getattr(known, name))
    if changed:
        link.save(update_fields=changed)
    if known.ticket_id:
        _follow_request_number(link, known.ticket_id, status=None)


def follow_request(link: HelpdeskChat, seen: TicketState) -> bool:
    """Apply what an event says about a request, unless a later event was already applied.

    Return whether a followed request was closed, reopened or reassigned without our knowing.
    """
    if seen.id is None:
        return False
    if seen.updated and link.updated and seen.updated < link.updated:
        return False
    was_followed, assignee_before = seen.id == link.ticket_id and bool(link.updated), link.assignee
    _follow_request_number(link, seen.id, status=seen.status)
    ticket = Ticket.objects.filter(conversation=link.conversation_id, external_id=seen.id).first()
    is_moved = False
    if ticket is not None and seen.status in Ticket.Status.values and seen.status != ticket.status:
        is_moved = (seen.status in Ticket.ENDED) != (ticket.status in Ticket.ENDED)
        _change_ticket_status(ticket, int(seen.status or 0))
    if seen.id == link.ticket_id:
        link.assignee = seen.assignee if seen.tells_assignee else link.assignee
        link.updated = max(seen.updated, link.updated)
        link.save(update_fields=["assignee", "updated"])
    return was_followed and (is_moved or link.assignee != assignee_before)


def _follow_request_number(link: HelpdeskChat, number: int, *, status: int | None) -> None:
    """Link a request number to our current request; a higher number is the chat's next request."""
    if link.ticket_id is not None and number <= link.ticket_id:
        return
    if Ticket.objects.filter(conversation=link.conversation_id, external_id=number).exists():
        return  # a request of a merged client; the other chat's request continues
    conversation = Conversation.objects.select_related("contact", "chat_channel").get(pk=link.conversation_id)
    live = tickets.get_current_ticket(conversation)
    if live is not None and live.external_id is not None:
        _change_ticket_status(live, Ticket.Status.CLOSED)
        live = None
    if live is None and status not in Ticket.ENDED:
        live = Ticket.objects.create(conversation=conversation, assignee_id=conversation.assignee_id)
    if live is not None:
        live.external_id = number
        live.save(update_fields=["external_id"])
    link.ticket_id = number
    link.assignee, link.updated = "", ""
    link.save(update_fields=["ticket_id", "assignee", "updated"])
    # Notes that waited for a request can be sent now.
    Delivery.objects.filter(
        conversation=conversation,
        kind=Delivery.Kind.NOTE,
        state=Delivery.State.PENDING,
        reason="request_unknown",
    ).update(next_attempt_at=Now())


def _change_ticket_status(ticket: Ticket, status: int) -> None:
    try:
        tickets.set_ticket_status(ticket.pk, status=status)
    except ValueError:
        return  # an old request was reopened next to a current one: follow the current one
