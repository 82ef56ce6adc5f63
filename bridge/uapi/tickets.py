"""Methods that create and change requests: ``create/ticket``, ``create/ticket/async``, ``update/ticket``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from bridge.conversations import contact_editing, contacts, receiving, tickets
from bridge.models import Contact, Conversation, Ticket
from bridge.notices import create_notice
from bridge.raw_requests import MAX_BYTES_WITH_FILES
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.phone_numbers import phone_key
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ContactInfo

from . import client_cards, ticket_properties
from .base import UapiView
from .base_call import UapiCall
from .clients import lock_contact, read_phone, visible_contacts
from .comments import (
    CLIENT,
    TRIGGER,
    USER,
    attach_files,
    create_note,
    get_author,
    get_ticket,
    queue_comment_event,
    read_message,
    read_trigger_id,
    submit_reply,
)
from .errors import BAD_FIELD, NOT_ALLOWED, NOT_FOUND, UapiError
from .parameters import (
    CLIENT_NOT_CHANGEABLE,
    COPIES_NOT_SUPPORTED,
    LISTS_NOT_SUPPORTED,
    define_parameters,
    is_given,
    is_null,
    read_choice,
    read_flag,
)

NEW_CLIENT = "new_client"
DELIVERED, NOT_DELIVERED = "delivered", "not delivered"  # Usedesk's values of ``message_status``
UNCHANGED = object()


class CreateTicket(UapiView):
    """``create/ticket``: open another request in the client's chat.

    With ``from=user`` and ``from=trigger`` the message is sent to the client if the window or a template allows it;
    ``message_status`` in the response is the result. With ``from=client``, and if it is private, the message becomes
    a note: the client has not written, so no service window opens.
    """

    limit = MAX_BYTES_WITH_FILES
    parameters = define_parameters(
        *("message", "client_id", "client_name", "client_email", "client_phone", "channel_id", "private_comment"),
        *("status", "status_id", "assignee_id", "group_id", "from", "user_id", "trigger_id", "files"),
        *ticket_properties.PROPERTY_PARAMETERS,
        *client_cards.TICKET_PARAMETERS,
        refused={
            "lists": LISTS_NOT_SUPPORTED,
            "list": LISTS_NOT_SUPPORTED,
            "cc": COPIES_NOT_SUPPORTED,
            "bcc": COPIES_NOT_SUPPORTED,
        },
        files=True,
    )

    def answer(self, call: UapiCall) -> dict[str, Any]:
        chat_channel = _get_chat_channel(call)
        text = read_message(call)
        properties = ticket_properties.read_properties(call)
        links = values.parse_files(call.values.get("files"), "files")
        if not text and not properties.get("subject"):
            raise BadBody(_("“message” is missing."))
        status = _read_status(call)
        sender = read_choice(call.values.get("from"), "from", [USER, CLIENT, TRIGGER]) or CLIENT
        is_private = read_flag(call.values.get("private_comment"), "private_comment")
        to_group = ticket_properties.read_group(call, chat_channel.pk)
        contact, unused = _get_or_create_contact(call)
        found, _created = Conversation.objects.get_or_create(
            contact=contact, chat_channel=chat_channel, defaults={"api_channel": contact.api_channel}
        )
        conversation = receiving.lock_conversation(found.pk)
        author = get_author(call, conversation)
        assignee = _read_assignee(call, conversation)
        if assignee is UNCHANGED:
            assignee = None if to_group else conversation.assignee_id
        subject = properties.get("subject") or text.split("\n")[0][:80]
        ticket = tickets.open_ticket(
            conversation,
            text=text or subject,
            status=status,
            properties=properties | {"subject": subject},
            assignee_id=assignee,
            to_group=bool(to_group),
        )
        answer = {"status": "success", "ticket_id": ticket.pk, "message_status": DELIVERED}
        if unused:
            answer["ignored"] = unused
        if not text and not call.files and not links:
            return answer
        if sender != CLIENT and not is_private:
            return answer | self._to_client(call, ticket, text, author=author, by_rule=sender == TRIGGER)
        trigger_id = read_trigger_id(call)
        note = create_note(ticket, text, author=author, sender=sender, public=not is_private, trigger_id=trigger_id)
        attach_files(note, call, links)
        queue_comment_event(note, ticket)
        return answer | {"comment_id": note.pk}

    def _to_client(self, call: UapiCall, ticket: Ticket, text: str, *, author: Any, by_rule: bool) -> dict[str, Any]:
        submitted = submit_reply(call, ticket, text, author=author, by_rule=by_rule)
        if submitted.message is not None:
            return {"comment_id": submitted.message.pk}
        decision = submitted.decision
        create_notice(
            ticket.conversation,
            "api_reply_refused",
            **{**decision.details, "text": text, "why_code": decision.reason},
        )
        return {"message_status": NOT_DELIVERED, "reason": decision.reason, "message_error": decision.sentence}


def _get_chat_channel(call: UapiCall) -> ChatChannel:
    """Return the watched chat channel of ``channel_id``; the first one if it is missing. Raises UapiError."""
    channel_id = values.parse_id(call.values.get("channel_id"), "channel_id")
    watched = call.api_channel.watched.order_by("pk")
    channel = watched.first() if channel_id is None else watched.filter(pk=channel_id).first()
    if channel is None:
        raise UapiError(
            NOT_ALLOWED, _("This API channel does not watch chat channel %(id)s.") % {"id": channel_id or "—"}
        )
    return channel


def _get_or_create_contact(call: UapiCall) -> tuple[Contact, list[str]]:
    """Return the client, found by ID, phone or email or created, and the names of unused parameters.

    A known phone selects its client even with ``new_client``, because one WhatsApp number is one client.
    """
    value = call.values.get("client_id")
    is_new = isinstance(value, str) and value.strip().lower() == NEW_CLIENT
    client_id = None if is_new or is_null(value) else values.parse_id(value, "client_id")
    if client_id is not None:
        contact = visible_contacts(call).filter(pk=client_id).first()
        # An undo of an import may have deleted it just now.
        if contact is None or not contacts.lock_contacts([contact.pk]):
            raise UapiError(NOT_FOUND, _("Client %(id)s does not exist on this API channel.") % {"id": client_id})
    else:
        contact = _find_known_contact(call, is_new=is_new)
        if contact is not None and not contacts.lock_contacts([contact.pk]):
            contact = None
    fields = {
        "name": visible_name(values.as_text(call.values.get("client_name"))),
        "email": values.as_text(call.values.get("client_email")).strip()[:200],
        "phone": read_phone(values.as_text(call.values.get("client_phone"))),
    }
    if contact is None:
        contact = Contact(api_channel=call.api_channel, number_issued=True, **fields)
        client_cards.update_card(contact, call, names=client_cards.TICKET_PARAMETERS)
        contact.save()
        call.link_contact(contact)
        return contact, []
    call.link_contact(contact)
    contact = lock_contact(contact)
    call.link_contact(contact)
    before = contact_editing.get_card(contact)
    filled, unused = _fill_empty_fields(contact, fields)
    client_cards.update_card(contact, call, names=client_cards.TICKET_PARAMETERS)
    contact.save(update_fields=["card", *filled])
    if filled:
        contact_editing.record_program_changes(contact, before, api_channel=call.api_channel)
    return contact, unused


def _fill_empty_fields(contact: Contact, fields: dict[str, str]) -> tuple[list[str], list[str]]:
    """Fill empty fields of the contact. Return these fields, and the parameters that contradict the contact."""
    filled, unused = [], []
    for field, text in fields.items():
        known = getattr(contact, field)
        if text and not known:
            setattr(contact, field, text)
            filled.append(field)
        elif text and not _matches_card(contact, field, text):
            unused.append(f"client_{field}")
    return filled, unused


def _matches_card(contact: Contact, field: str, text: str) -> bool:
    if field == "phone":
        return phone_key(text) in (contact.phone_key, contact.address_key)
    return str(getattr(contact, field)).casefold() == text.casefold()


def _find_known_contact(call: UapiCall, *, is_new: bool) -> Contact | None:
    phone = read_phone(values.as_text(call.values.get("client_phone")))
    if phone:
        found = contacts.find_contact(call.api_channel, ContactInfo(phone=phone))
        if found is not None:
            return found
        key = phone_key(phone)
        others = (
            visible_contacts(call).with_phone([key]).filter(moved_to=None).select_related("api_channel").order_by("pk")
        )
        # A phone that is only contact data is not the number that messages are sent to.
        return next((one for one in others if contacts.get_number_key(one.api_channel, one) == key), None)
    email = values.as_text(call.values.get("client_email")).strip()
    if email and not is_new:
        return visible_contacts(call).with_email(email).order_by("pk").first()
    return None


class CreateTicketAsync(CreateTicket):
    """``create/ticket/async``: same as ``create/ticket``. The response already contains the request ID."""


class UpdateTicket(UapiView):
    """``update/ticket``: change the given properties and keep the others.

    ``tag`` adds tags; ``tags``, an extension of Okno, replaces all tags. ``silent`` has no effect: an update never
    changes the status by itself.
    """

    parameters = define_parameters(
        *("ticket_id", "status", "status_id", "assignee_id", "group_id", "user_id", "client_id"),
        *ticket_properties.PROPERTY_PARAMETERS,
        refused={"lists": LISTS_NOT_SUPPORTED, "list": LISTS_NOT_SUPPORTED},
        no_effect="silent",
    )

    def answer(self, call: UapiCall) -> dict[str, Any]:
        ticket = get_ticket(call)
        status = _read_status(call)
        properties = ticket_properties.read_properties(call)
        to_group = ticket_properties.read_group(call, ticket.conversation.chat_channel_id)
        client_id = call.values.get("client_id")
        if is_given(client_id) and values.parse_id(client_id, "client_id") != ticket.conversation.contact_id:
            raise BadBody(str(CLIENT_NOT_CHANGEABLE) % {"name": "client_id"})
        receiving.lock_conversation(ticket.conversation_id)
        by = getattr(get_author(call, ticket.conversation), "pk", None)
        assignee = _read_assignee(call, ticket.conversation)
        if assignee is UNCHANGED and to_group is True:
            assignee = None  # assigned to the group, to no operator yet
        if assignee is not UNCHANGED or to_group is not None:
            ticket.refresh_from_db(fields=["assignee"])  # the value under the lock
            user_id = ticket.assignee_id if assignee is UNCHANGED else assignee
            tickets.assign_ticket(ticket.pk, user_id=user_id, to_group=to_group, by=by)
        tickets.set_ticket_properties(ticket.pk, properties, by=by)
        if status is not None:
            try:
                tickets.set_ticket_status(ticket.pk, status=status, by=by)
            except ValueError:
                sentence = _("This chat has another open request, so an earlier request cannot be reopened.")
                raise UapiError(BAD_FIELD, sentence) from None
        return {"status": "success"}


def _read_status(call: UapiCall) -> int | None:
    """Read ``status``, or ``status_id``, which responses and events use. Raises BadBody."""
    name = "status" if call.values.get("status") not in (None, "") else "status_id"
    status = values.parse_id(call.values.get(name), name)
    if status is not None and status not in Ticket.Status.values:
        raise BadBody(_("“%(name)s” must be a number from 1 to 10.") % {"name": name})
    return status


def _read_assignee(call: UapiCall, conversation: Conversation) -> Any:
    """Return the operator's ID; None for "null", null and 0; UNCHANGED if missing. Raises UapiError."""
    value = call.values.get("assignee_id", "")
    if value == "":
        return UNCHANGED
    if is_null(value):
        return None
    user_id = values.parse_id(value, "assignee_id") or 0
    user = get_user_model().objects.people().filter(pk=user_id, is_active=True).first()
    if user is None or not Conversation.objects.filter(pk=conversation.pk).visible_to(user).exists():
        raise UapiError(
            NOT_FOUND, _("Operator %(id)s does not exist or does not have access to this chat.") % {"id": user_id}
        )
    return user_id
