"""Mirroring of an external helpdesk's requests: number, status, assignee."""

from __future__ import annotations

from django.db.models.functions import Now

from bridge.conversations import tickets
from channels_setup.providers.base.helpdesk import RemoteIds, TicketState

from ..models import Conversation, Delivery, HelpdeskChat, Ticket


def has_new_ids(link: HelpdeskChat, ids: RemoteIds) -> bool:
    """Return whether the helpdesk reports IDs that we do not have."""
    names = ("chat_id", "client_id", "ticket_id")
    return any((value := getattr(ids, name)) and value != getattr(link, name) for name in names)


def save_remote_ids(link: HelpdeskChat, ids: RemoteIds) -> None:
    """Store IDs from a response or an event. Missing IDs do not overwrite stored ones."""
    changed = [
        name for name in ("chat_id", "client_id") if (value := getattr(ids, name)) and value != getattr(link, name)
    ]
    for name in changed:
        setattr(link, name, getattr(ids, name))
    if changed:
        link.save(update_fields=changed)
    if ids.ticket_id:
        _follow_request_number(link, ids.ticket_id, status=None)


def follow_request(link: HelpdeskChat, state: TicketState) -> bool:
    """Apply the state of a request from an event, unless a later event was already applied.

    Return whether a followed request was closed, reopened or reassigned in the helpdesk.
    """
    if state.id is None:
        return False
    if state.updated and link.updated and state.updated < link.updated:
        return False
    was_followed, assignee_before = state.id == link.ticket_id and bool(link.updated), link.assignee
    _follow_request_number(link, state.id, status=state.status)
    ticket = Ticket.objects.filter(conversation=link.conversation_id, external_id=state.id).first()
    is_moved = False
    if ticket is not None and state.status in Ticket.Status.values and state.status != ticket.status:
        is_moved = (state.status in Ticket.ENDED) != (ticket.status in Ticket.ENDED)
        _change_ticket_status(ticket, int(state.status or 0))
    if state.id == link.ticket_id:
        link.assignee = state.assignee if state.includes_assignee else link.assignee
        link.updated = max(state.updated, link.updated)
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
        live = Ticket.objects.create(
            conversation=conversation, assignee_id=conversation.assignee_id, team_id=conversation.team_id
        )
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
