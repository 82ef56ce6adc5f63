"""``create/comment``: a note for the operators, a reply to the client, or the client's own words, by request.

``from=trigger`` is a reply or a note that a rule or a bot wrote: like an operator's, without an author.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from bridge import outcomes, wakeups
from bridge.conversations import receiving, tickets
from bridge.fanout import subscribers
from bridge.files import attachment_files, uploads
from bridge.models import Conversation, Delivery, Message, Ticket
from bridge.raw_requests import MAX_BYTES_WITH_FILES
from bridge.relay import held_replies, submission
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.html_text import text_of
from channels_setup.providers.base import ContactInfo, MessageReceived

from .base import NOT_FOUND, NOT_SENT, Call, Error, UapiView, _operator
from .parameters import NO_COPIES, as_choice, as_flag, is_given, takes

LONGEST = 64 * 1024  # bytes of HTML, as the helpdesk documents
CLIENT, USER, TRIGGER = "client", "user", "trigger"


class CreateComment(UapiView):
    """Private unless it says otherwise. A public one from an operator obeys the window exactly as the desk does."""

    limit = MAX_BYTES_WITH_FILES
    parameters = takes(
        *("ticket_id", "message", "type", "from", "user_id", "private_comment", "files", "trigger_id"),
        refused={"cc": NO_COPIES, "bcc": NO_COPIES},
        files=True,
    )

    def answer(self, call: Call) -> dict[str, Any]:
        ticket = ticket_of(call)
        text = message_of(call)
        links = values.as_files(call.values.get("files"), "files")
        if not text and not call.files and not links:
            raise BadBody(_("“message” is missing."))
        kind = as_choice(call.values.get("type"), "type", ["public", "private"]) or "private"
        sender = as_choice(call.values.get("from"), "from", [USER, CLIENT, TRIGGER]) or USER
        author = author_of(call, ticket.conversation)
        if kind == "private" or as_flag(call.values.get("private_comment"), "private_comment"):
            made = note(ticket, text, author=author, sender=sender, trigger_id=trigger_of(call))
            attach(made, call, links)
            tell_comment(made, ticket)
        elif sender == CLIENT:
            made = self._from_client(call, ticket, text, links)
        else:
            made = reply(call, ticket, text, author=author, by_rule=sender == TRIGGER)
        return {"status": "success", "comment_id": made.pk}

    def _from_client(self, call: Call, ticket: Ticket, text: str, links: tuple[values.FileInfo, ...]) -> Message:
        """A client's message like any other. A request that is over is not revived: it lands in the current one."""
        conversation = ticket.conversation
        contact = conversation.contact
        fact = MessageReceived(contact=ContactInfo(external_id=contact.external_id), text=text, files=links)
        incoming = receiving.IncomingMessage(
            fact=fact, chat_channel=conversation.chat_channel, contact=contact, uploads=call.files, ticket_id=ticket.pk
        )
        received = receiving.receive_messages(conversation.api_channel, [incoming])[0]
        current = tickets.get_current_ticket(conversation)
        if current is not None and current.pk != received.message.ticket_id:
            tickets.save_request_status(conversation.pk, current.status)
        held_replies.release_held_replies([conversation.pk])
        return received.message


def reply(call: Call, ticket: Ticket, text: str, *, author: Any, by_rule: bool = False) -> Message:
    """Submit a reply to the client in this request. Raises Error with the reason where it does not go out."""
    submitted = submit(call, ticket, text, author=author, by_rule=by_rule)
    if submitted.message is None:
        raise Error(NOT_SENT, submitted.decision.sentence, reason=submitted.decision.reason)
    return submitted.message


def submit(call: Call, ticket: Ticket, text: str, *, author: Any, by_rule: bool) -> submission.SubmitResult:
    """The same, with the relay's decision as it is. Files that cannot go out are refused at once."""
    conversation = ticket.conversation
    if call.files and not conversation.api_channel.provider.sends_files:
        raise Error(NOT_SENT, outcomes.render_sentence("files_not_supported"), reason="files_not_supported")
    if call.values.get("files") not in (None, "", []):
        raise BadBody(_("Files for the client must be sent as multipart/form-data, not as links."))
    try:
        kept = [uploads.save_upload(conversation, file, author=author) for file in call.files]
    except uploads.UploadRefused as problem:
        raise BadBody(str(problem)) from None
    marks = {"from": TRIGGER, "trigger_id": trigger_of(call)} if by_rule else None
    return submission.submit_reply(
        conversation_id=conversation.pk, text=text, author=author, uploads=kept, ticket=ticket, marks=marks
    )


def message_of(call: Call) -> str:
    """Return the words of ``message``, which is HTML."""
    given = call.values.get("message")
    if isinstance(given, bool | dict | list) and is_given(given):
        raise BadBody(_("“%(name)s” must be text.") % {"name": "message"})
    html = values.as_text(given)
    if len(html.encode()) > LONGEST:
        raise BadBody(_("“message” is longer than 64 KB."))
    return text_of(html)


def author_of(call: Call, conversation: Conversation) -> Any:
    return _operator(call, conversation) if call.values.get("user_id") not in (None, "") else None


def trigger_of(call: Call) -> int | None:
    """The number of the caller's rule, kept with what it wrote."""
    return values.as_id(call.values.get("trigger_id"), "trigger_id")


def note(
    ticket: Ticket, text: str, *, author: Any = None, sender: str = USER, public: bool = False, **more: Any
) -> Message:
    """Write a word among operators, in the chat of this request. It never leaves the portal.

    ``sender`` and ``public``: what a caller said of it, and gets back with the request.
    """
    told = {"from": sender, "type": "public" if public else "private", **more}
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
        details={"text": text, **{name: value for name, value in told.items() if value is not None}},
    )


def attach(message: Message, call: Call, links: tuple[values.FileInfo, ...]) -> None:
    """Keep the files of a note with it."""
    attachment_files.create_attachments([(message, links)])
    attachment_files.store_attachments(message, call.files)


def tell_comment(message: Message, ticket: Ticket) -> None:
    """Queue the comment events of a note."""
    if Delivery.objects.bulk_create(subscribers.build_comment_deliveries(message, ticket)):
        wakeups.notify_after_commit(wakeups.OUTBOUND)


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
