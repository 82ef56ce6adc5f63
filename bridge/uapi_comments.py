"""``create/comment``: a note for the operators, a reply to the client, or the client's own words, by request."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.html_text import text_of
from channels_setup.providers.base import ContactInfo, MessageReceived

from . import conversations, files, held, reasons, relay, uploads
from .models import Message, Ticket
from .requests_in import MOST_BYTES_WITH_FILES
from .uapi import NOT_FOUND, NOT_SENT, Call, Error, UapiView, _operator

LONGEST = 64 * 1024  # bytes of HTML, as the helpdesk documents


def html_message(call: Call) -> str:
    html = values.as_text(call.values.get("message"))
    if len(html.encode()) > LONGEST:
        raise BadBody(_("“message” is longer than 64 KB."))
    return html


class CreateComment(UapiView):
    """Private unless it says otherwise. A public one from an operator obeys the window exactly as the desk does."""

    limit = MOST_BYTES_WITH_FILES

    def answer(self, call: Call) -> dict[str, Any]:
        ticket = ticket_of(call)
        html = html_message(call)
        text = text_of(html)
        if not text and not call.files:
            raise BadBody(_("“message” is missing."))
        kind = values.as_text(call.values.get("type")) or "private"
        sender = values.as_text(call.values.get("from")) or "user"
        if kind not in ("public", "private"):
            raise BadBody(_("“type” must be public or private."))
        if sender not in ("user", "client"):
            raise BadBody(_("“from” must be user or client."))
        if kind == "private":
            made = self._note(call, ticket, text)
        elif sender == "client":
            made = self._from_client(call, ticket, text)
        else:
            made = self._reply(call, ticket, text)
        return {"status": "success", "comment_id": made.pk}

    @transaction.atomic
    def _note(self, call: Call, ticket: Ticket, text: str) -> Message:
        made = note(ticket, text, author=self._author(call, ticket))
        files.store(made, call.files)
        return made

    def _from_client(self, call: Call, ticket: Ticket, text: str) -> Message:
        """A client's message like any other: it lands in the chat's live request."""
        conversation = ticket.conversation
        contact = conversation.contact
        fact = MessageReceived(contact=ContactInfo(external_id=contact.external_id), text=text)
        incoming = conversations.Incoming(
            fact=fact, chat_channel=conversation.chat_channel, contact=contact, uploads=call.files
        )
        received = conversations.receive(conversation.api_channel, [incoming])[0]
        held.release([conversation.pk])
        return received.message

    def _reply(self, call: Call, ticket: Ticket, text: str) -> Message:
        if call.files and not ticket.conversation.api_channel.provider.sends_files:
            raise Error(NOT_SENT, reasons.sentence("files_not_supported"), reason="files_not_supported")
        author = self._author(call, ticket)
        try:
            kept = [uploads.keep(ticket.conversation, file, author=author) for file in call.files]
        except uploads.NotTaken as problem:
            raise BadBody(str(problem)) from None
        handed = relay.hand_in(conversation_id=ticket.conversation_id, text=text, author=author, uploads=kept)
        if handed.message is None:
            raise Error(NOT_SENT, handed.decision.sentence, reason=handed.decision.reason)
        return handed.message

    def _author(self, call: Call, ticket: Ticket) -> Any:
        return _operator(call, ticket.conversation) if call.values.get("user_id") not in (None, "") else None


def note(ticket: Ticket, text: str, *, author: Any = None) -> Message:
    """A word among operators, in the chat of this request. It never leaves the portal."""
    return Message.objects.create(
        conversation=ticket.conversation,
        api_channel_id=ticket.conversation.api_channel_id,
        ticket=ticket,
        direction=Message.Direction.NOTICE,
        kind=Message.Kind.NOTICE,
        status=Message.Status.RECEIVED,
        author=author,
        text=text,
        reason="note",
        details={"text": text},
    )


def ticket_of(call: Call) -> Ticket:
    """The request that ``ticket_id`` names, among those in the chat channels that this API channel watches."""
    ticket_id = values.as_id(call.values.get("ticket_id"), "ticket_id")
    if ticket_id is None:
        raise BadBody(_("“ticket_id” is missing."))
    ticket = (
        Ticket.objects.filter(pk=ticket_id, conversation__chat_channel__in=call.api_channel.watched.all())
        .select_related("conversation__contact", "conversation__chat_channel", "conversation__api_channel")
        .first()
    )
    if ticket is None:
        raise Error(NOT_FOUND, _("There is no request %(id)s in the channels of this API channel.") % {"id": ticket_id})
    return ticket
