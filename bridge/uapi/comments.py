"""``create/comment``: add a note for operators, a reply to the client, or a client's message to a request.

``from=trigger`` marks a reply or note that a rule or a bot wrote. It is treated like an operator's, without an author.
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
from bridge.relay import held_replies, reply_submission
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.html_text import html_to_text
from channels_setup.providers.base import ContactInfo, MessageReceived

from .base import UapiView
from .base_call import UapiCall
from .chats import get_operator
from .errors import NOT_FOUND, NOT_SENT, UapiError
from .parameters import COPIES_NOT_SUPPORTED, define_parameters, is_given, read_choice, read_flag

MAX_MESSAGE_BYTES = 64 * 1024  # of HTML; the limit that Usedesk documents
CLIENT, USER, TRIGGER = "client", "user", "trigger"


class CreateComment(UapiView):
    """``create/comment``. A comment is private by default; a public reply follows the window rules of the desk."""

    limit = MAX_BYTES_WITH_FILES
    parameters = define_parameters(
        *("ticket_id", "message", "type", "from", "user_id", "private_comment", "files", "trigger_id"),
        refused={"cc": COPIES_NOT_SUPPORTED, "bcc": COPIES_NOT_SUPPORTED},
        files=True,
    )

    def answer(self, call: UapiCall) -> dict[str, Any]:
        ticket = get_ticket(call)
        text = read_message(call)
        links = values.parse_files(call.values.get("files"), "files")
        if not text and not call.files and not links:
            raise BadBody(_("“message” is missing."))
        kind = read_choice(call.values.get("type"), "type", ["public", "private"]) or "private"
        sender = read_choice(call.values.get("from"), "from", [USER, CLIENT, TRIGGER]) or USER
        author = get_author(call, ticket.conversation)
        if kind == "private" or read_flag(call.values.get("private_comment"), "private_comment"):
            message = create_note(ticket, text, author=author, sender=sender, trigger_id=read_trigger_id(call))
            attach_files(message, call, links)
            queue_comment_event(message, ticket)
        elif sender == CLIENT:
            message = self._from_client(call, ticket, text, links)
        else:
            message = submit_reply_or_fail(call, ticket, text, author=author, by_rule=sender == TRIGGER)
        return {"status": "success", "comment_id": message.pk}

    def _from_client(self, call: UapiCall, ticket: Ticket, text: str, links: tuple[values.FileInfo, ...]) -> Message:
        """Store a client's message. A closed request is not reopened: the message goes to the chat's current one."""
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


def submit_reply_or_fail(call: UapiCall, ticket: Ticket, text: str, *, author: Any, by_rule: bool = False) -> Message:
    """Submit a reply to the client in this request. Raises UapiError (NOT_SENT) if the relay refuses it."""
    submitted = submit_reply(call, ticket, text, author=author, by_rule=by_rule)
    if submitted.message is None:
        raise UapiError(NOT_SENT, submitted.decision.sentence, reason=submitted.decision.reason)
    return submitted.message


def submit_reply(
    call: UapiCall, ticket: Ticket, text: str, *, author: Any, by_rule: bool
) -> reply_submission.SubmitResult:
    """Submit a reply and return the relay's decision. Raises UapiError or BadBody for files that cannot be sent."""
    conversation = ticket.conversation
    if call.files and not conversation.api_channel.provider.sends_files:
        raise UapiError(NOT_SENT, outcomes.render_sentence("files_not_supported"), reason="files_not_supported")
    if call.values.get("files") not in (None, "", []):
        raise BadBody(_("Files for the client must be sent as multipart/form-data, not as links."))
    try:
        stored = [uploads.save_upload(conversation, file, author=author) for file in call.files]
    except uploads.UploadRefused as problem:
        raise BadBody(str(problem)) from None
    marks = {"from": TRIGGER, "trigger_id": read_trigger_id(call)} if by_rule else None
    return reply_submission.submit_reply(
        conversation_id=conversation.pk, text=text, author=author, uploads=stored, ticket=ticket, extra_context=marks
    )


def read_message(call: UapiCall) -> str:
    """Return ``message``, which is HTML, as plain text. Raises BadBody."""
    value = call.values.get("message")
    if isinstance(value, bool | dict | list) and is_given(value):
        raise BadBody(_("“%(name)s” must be text.") % {"name": "message"})
    html = values.as_text(value)
    if len(html.encode()) > MAX_MESSAGE_BYTES:
        raise BadBody(_("“message” is longer than 64 KB."))
    return html_to_text(html)


def get_author(call: UapiCall, conversation: Conversation) -> Any:
    """Return the operator of ``user_id``, or None if it is empty."""
    return get_operator(call, conversation) if call.values.get("user_id") not in (None, "") else None


def read_trigger_id(call: UapiCall) -> int | None:
    """Return the ID of the caller's rule, which is stored with its message."""
    return values.parse_id(call.values.get("trigger_id"), "trigger_id")


def create_note(
    ticket: Ticket, text: str, *, author: Any = None, sender: str = USER, public: bool = False, **more: Any
) -> Message:
    """Store a note for operators in the chat of this request. Notes are never sent to the client.

    ``sender`` and ``public`` are values of the caller, which the ``ticket`` method returns unchanged.
    """
    details = {"from": sender, "type": "public" if public else "private", **more}
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
        details={"text": text, **{name: value for name, value in details.items() if value is not None}},
    )


def attach_files(message: Message, call: UapiCall, links: tuple[values.FileInfo, ...]) -> None:
    """Store the uploaded files and the links of a note."""
    attachment_files.create_attachments([(message, links)])
    attachment_files.store_attachments(message, call.files)


def queue_comment_event(message: Message, ticket: Ticket) -> None:
    """Queue the ``comment`` events of a note for its subscribers."""
    if Delivery.objects.bulk_create(subscribers.build_comment_deliveries(message, ticket)):
        wakeups.notify_after_commit(wakeups.EVENTS)


def get_ticket(call: UapiCall) -> Ticket:
    """Return the request of ``ticket_id`` in the watched chat channels. Raises BadBody and UapiError (NOT_FOUND)."""
    ticket_id = values.parse_id(call.values.get("ticket_id"), "ticket_id")
    if ticket_id is None:
        raise BadBody(_("“ticket_id” is missing."))
    ticket = (
        Ticket.objects.filter(pk=ticket_id, conversation__chat_channel__in=call.api_channel.watched.all())
        .select_related("conversation__contact", "conversation__chat_channel", "conversation__api_channel")
        .first()
    )
    if ticket is None:
        raise UapiError(
            NOT_FOUND, _("Request %(id)s does not exist in the channels of this API channel.") % {"id": ticket_id}
        )
    call.link_contact(ticket.conversation.contact)
    return ticket
