"""Requests of the public API: ``create/ticket``, ``update/ticket``, ``ticket``, ``tickets``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import OuterRef, Prefetch, Subquery
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.chat_events import wire_time
from channels_setup.codecs.html_text import html_of, text_of
from channels_setup.models import ChatChannel

from . import conversations, doorbell, tickets, tracking
from .models import Attachment, Contact, Conversation, Delivery, Message, Ticket
from .uapi import BAD_FIELD, NOT_ALLOWED, NOT_FOUND, Call, Error, UapiView
from .uapi_clients import _phone, contacts_of
from .uapi_comments import html_message, note, ticket_of
from .uapi_reading import Reading, numbers, page, time_range


class CreateTicket(UapiView):
    """A request in the client's chat. Its message is a note: the client has not written, so no window opens.

    A chat has one live request: where there is one already, the note goes into it and its number is the answer.
    """

    def answer(self, call: Call) -> dict[str, Any]:
        chat_channel = _chat_channel(call)
        text = text_of(html_message(call))
        subject = values.as_text(call.values.get("subject")).strip()[:200]
        if not text and not subject:
            raise BadBody(_("“message” is missing."))
        status = _status(call)
        contact = _contact(call)
        found, _made = Conversation.objects.get_or_create(
            contact=contact, chat_channel=chat_channel, defaults={"api_channel": contact.api_channel}
        )
        conversation = conversations.lock(found.pk)
        ticket = tickets.live_ticket(conversation)
        if ticket is None:
            ticket = _open(conversation, subject=subject, text=text)
            if status is not None:
                tickets.set_ticket_status(ticket.pk, status=status)
        if text:
            note(ticket, text)
        _assign(call, ticket)
        return {"status": "success", "ticket_id": ticket.pk}


def _open(conversation: Conversation, *, subject: str, text: str) -> Ticket:
    ticket = Ticket.objects.create(
        conversation=conversation,
        assignee_id=conversation.assignee_id,
        subject=subject or text.split("\n")[0][:80],
        first_text=text or subject,
    )
    tickets.note_status(conversation.pk, ticket.status)
    if Delivery.objects.bulk_create(tracking.ticket_opened(ticket)):
        doorbell.ring_after_commit(doorbell.OUTBOUND)
    return ticket


def _chat_channel(call: Call) -> ChatChannel:
    """The one that ``channel_id`` names; without it, the first that this API channel watches."""
    channel_id = values.as_id(call.values.get("channel_id"), "channel_id")
    watched = call.api_channel.watched.order_by("pk")
    channel = watched.first() if channel_id is None else watched.filter(pk=channel_id).first()
    if channel is None:
        raise Error(NOT_ALLOWED, _("This API channel does not watch chat channel %(id)s.") % {"id": channel_id or "—"})
    return channel


def _contact(call: Call) -> Contact:
    """The client meant: by number, by phone, or a new one."""
    client_id = values.as_id(call.values.get("client_id"), "client_id")
    if client_id is not None:
        contact = contacts_of(call).filter(pk=client_id).first()
        if contact is None:
            raise Error(NOT_FOUND, _("There is no client %(id)s on this API channel.") % {"id": client_id})
        return contact
    phone = _phone(values.as_text(call.values.get("client_phone")))
    known = contacts_of(call).filter(phone__in=[phone, f"+{phone}"]).order_by("pk").first() if phone else None
    if known is not None:
        return known
    return Contact.objects.create(
        api_channel=call.api_channel,
        phone=phone,
        name=values.as_text(call.values.get("client_name")).strip()[:200],
        email=values.as_text(call.values.get("client_email")).strip()[:200],
    )


class UpdateTicket(UapiView):
    """Status, assignee and subject. What the built-in desk does not have (tags, priority, type) is passed over."""

    def answer(self, call: Call) -> dict[str, Any]:
        ticket = ticket_of(call)
        status = _status(call)
        if status is not None:
            try:
                tickets.set_ticket_status(ticket.pk, status=status)
            except ValueError:
                sentence = _("Another request of this chat is open: an earlier one cannot be reopened beside it.")
                raise Error(BAD_FIELD, sentence) from None
        _assign(call, ticket)
        if subject := values.as_text(call.values.get("subject")).strip():
            Ticket.objects.filter(pk=ticket.pk).update(subject=subject[:200])
        return {"status": "success"}


def _status(call: Call) -> int | None:
    status = values.as_id(call.values.get("status"), "status")
    if status is not None and status not in Ticket.Status.values:
        raise BadBody(_("“status” must be a number from 1 to 10."))
    return status


def _assign(call: Call, ticket: Ticket) -> None:
    """Whoever is to answer; 0 or nothing in the field for nobody."""
    if "assignee_id" not in call.values:
        return
    user_id = values.as_id(call.values["assignee_id"], "assignee_id") or None
    if user_id is not None:
        user = get_user_model()._default_manager.filter(pk=user_id, is_active=True).first()
        if user is None or not Conversation.objects.filter(pk=ticket.conversation_id).seen_by(user).exists():
            raise Error(NOT_FOUND, _("There is no operator %(id)s for this chat.") % {"id": user_id})
    tickets.assign(ticket.conversation_id, user_id=user_id)


# --- reading ---------------------------------------------------------------------------------------------


class ReadTicket(Reading):
    """``ticket``: one request with everything that was said in it."""

    def answer(self, call: Call) -> dict[str, Any]:
        ticket = ticket_of(call)
        files = Prefetch("attachments", queryset=Attachment.objects.order_by("pk"))
        rows = Message.objects.filter(ticket=ticket).order_by("pk").prefetch_related(files)
        comments = [_comment(message, ticket, is_first=not place) for place, message in enumerate(rows)]
        return {"ticket": _whole(ticket), "comments": comments, "tags": [], "history": []}


class Tickets(Reading):
    """``tickets``: by channel, status, assignee, words and time; a hundred at a time, the newest first."""

    def answer(self, call: Call) -> list[dict[str, Any]]:
        rows = Ticket.objects.filter(conversation__chat_channel__in=call.api_channel.watched.all())
        for name, field in (
            ("fchannel", "conversation__chat_channel__in"),
            ("fstatus", "status__in"),
            ("client_id", "conversation__contact__in"),
        ):
            if wanted := numbers(call.values.get(name), name):
                rows = rows.filter(**{field: wanted})
        assigned = call.values.get("fassigned")
        assigned = assigned.get("assignee_id") if isinstance(assigned, dict) else assigned
        if assigned == "unassigned":
            rows = rows.filter(assignee=None)
        elif wanted := numbers(assigned, "fassigned"):
            rows = rows.filter(assignee__in=wanted)
        if query := values.as_text(call.values.get("query")).strip():
            rows = rows.filter(subject__icontains=query)
        rows = time_range(call, rows, "opened_at", "created")
        rows = time_range(call, rows, "updated_at", "updated")
        last = Message.objects.filter(ticket=OuterRef("pk")).order_by("-pk").values("text")[:1]
        rows = rows.annotate(last_text=Subquery(last)).select_related("conversation__contact")
        return [_row(ticket) for ticket in page(call, rows.order_by("-pk"))]


def _common(ticket: Ticket) -> dict[str, Any]:
    conversation = ticket.conversation
    return {
        "id": ticket.pk,
        "status_id": ticket.status,
        "subject": ticket.subject,
        "priority": "medium",
        "type": "question",
        "client_id": conversation.contact_id,
        "client_name": conversation.contact.name,
        "assignee_id": ticket.assignee_id,
        "group": None,
        "channel_id": conversation.chat_channel_id,
        "last_updated_at": wire_time(ticket.updated_at),
    }


def _whole(ticket: Ticket) -> dict[str, Any]:
    return _common(ticket) | {
        "chat_id": ticket.conversation_id,
        "email": ticket.conversation.contact.email or None,
        "published_at": wire_time(ticket.opened_at),
        "company_id": ticket.conversation.chat_channel.company_id,
        "additional_id": None,
    }


def _row(ticket: Any) -> dict[str, Any]:
    return _common(ticket) | {
        "status": ticket.status,
        "created_at": wire_time(ticket.opened_at),
        "channel_email": None,
        "ticket_fields": [],
        "tags": [],
        "last_comment": ticket.last_text or "",
        "remind_at": None,
    }


def _comment(message: Message, ticket: Ticket, *, is_first: bool) -> dict[str, Any]:
    is_client = message.direction == Message.Direction.INBOUND
    is_note = message.direction == Message.Direction.NOTICE
    contact = ticket.conversation.contact
    return {
        "id": message.pk,
        "message": html_of(message.text or message.sentence),
        "from": "client" if is_client else "user",
        "type": "private" if is_note else "public",
        "user_id": message.author_id,
        "client_id": contact.pk if is_client else None,
        "client_name": contact.name if is_client else None,
        "ticket_id": ticket.pk,
        "is_first": int(is_first),
        "delivered": int(message.status in (Message.Status.DELIVERED, Message.Status.READ)),
        "readed": int(message.status == Message.Status.READ),
        "published_at": wire_time(message.created_at),
        "files": [{"name": file.name, "file": tracking.file_link(file)} for file in message.attachments.all()],
    }
