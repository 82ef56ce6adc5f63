"""Process an external helpdesk's stored events into replies and changes, in order, each exactly once.

Called by the inbox under the chat channel's lock. Each event is a transaction of its own, so a failing event affects no
other.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge.conversations import receiving
from bridge.fanout import operator_notes
from bridge.raw_requests import mark_event_failed, restore_request
from bridge.relay import reply_submission
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import ChatChannel
from channels_setup.providers.base.helpdesk import CommentAdded, EventSeen, HelpdeskFact, MessageSent, RemoteIds

from ..models import (
    Conversation,
    Delivery,
    HelpdeskChat,
    HelpdeskConnection,
    HelpdeskReply,
    MergedConversation,
    Message,
    Ticket,
    WebhookEvent,
)
from . import mirroring, operators, reply_identity

logger = logging.getLogger(__name__)


@dataclass
class EventBatch:
    """Events of one chat channel, with its connection. The connection is read once and saved once."""

    chat_channel: ChatChannel
    connection: HelpdeskConnection
    came: dict[str, datetime] = field(default_factory=dict)  # kind of event → time of its first event

    def saw(self, track: str, at: datetime) -> None:
        self.came.setdefault(track, at)

    def name_of(self, assignee: str) -> str:
        """Whose chat it is: as near to the author as an event tells."""
        return str(self.connection.operators.get(assignee, assignee))

    @property
    def comments_come(self) -> bool:
        """Return whether this helpdesk sends comment events."""
        return "comment" in self.connection.seen or "comment" in self.came


def process_helpdesk_events(chat_channel_id: int, events: Sequence[WebhookEvent]) -> None:
    """Process stored events of one chat channel. Raise after a database error; later events keep their order."""
    chat_channel = ChatChannel.objects.get(pk=chat_channel_id)
    account = chat_channel.helpdesk_account()
    connection, _made = HelpdeskConnection.objects.get_or_create(chat_channel=chat_channel)
    batch = EventBatch(chat_channel, connection)
    broken: Exception | None = None
    for event in events:
        try:
            with transaction.atomic():
                facts = chat_channel.provider.parse(restore_request(event), account)
                remark = "".join(_apply_fact(batch, fact, event) for fact in facts)
                WebhookEvent.objects.filter(pk=event.pk).update(
                    state=WebhookEvent.State.PROCESSED, processed_at=timezone.now(), error=remark, traceback=""
                )
        except (OperationalError, InterfaceError) as problem:
            broken = problem  # later events must not overtake it
            break
        except BadBody as problem:
            batch.saw("unknown", event.received_at)
            mark_event_failed(event, str(problem))
        except Exception as problem:
            mark_event_failed(event, f"{type(problem).__name__}: {problem}", trace=traceback.format_exc())
    _save_seen_events(batch, at=events[-1].received_at)
    if broken is not None:
        raise broken


def _apply_fact(batch: EventBatch, fact: HelpdeskFact, event: WebhookEvent) -> str:
    """Apply one fact. Return a remark for the event's page if it had no effect."""
    if isinstance(fact, EventSeen):
        batch.saw(fact.track, event.received_at)
        return ""
    if isinstance(fact, MessageSent):
        return _handle_message(batch, fact, event)
    if isinstance(fact, CommentAdded):
        return _handle_comment(batch, fact, event)
    link = _find_by_ticket(batch.chat_channel, fact.ticket.id)
    if link is None:
        return _("Not a request of ours.")
    receiving.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    mirroring.follow_request(link, fact.ticket)
    operators.request_operator_names(batch.connection, link.assignee)
    return ""


@transaction.atomic
def _save_seen_events(batch: EventBatch, *, at: datetime) -> None:
    connection = _lock_connection(batch.chat_channel)
    connection.seen = {track: first.isoformat() for track, first in batch.came.items()} | connection.seen
    connection.last_event_at = at
    connection.save(update_fields=["seen", "last_event_at"])


@transaction.atomic
def record_refused_event(chat_channel: ChatChannel) -> None:
    """Record that an event had the right path but not the secret, for the connection check. Its body is not kept."""
    connection = _lock_connection(chat_channel)
    connection.seen["refused"] = timezone.now().isoformat()
    connection.save(update_fields=["seen"])


def _lock_connection(chat_channel: ChatChannel) -> HelpdeskConnection:
    return HelpdeskConnection.objects.select_for_update(no_key=True).get_or_create(chat_channel=chat_channel)[0]


# --- chats -----------------------------------------------------------------------------------------------


def _handle_message(batch: EventBatch, said: MessageSent, event: WebhookEvent) -> str:
    if _is_check_message(batch.connection, said):
        return ""
    link = _find_by_chat(batch.chat_channel, said)
    if link is None:
        return _handle_merged_chat_message(batch, said, event)
    conversation = receiving.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    if not said.by_operator:
        _confirm_delivery(conversation, said)
        mirroring.save_remote_ids(link, RemoteIds(chat_id=said.chat_id, client_id=said.client_id))
        _follow_request(batch, link, said, event)
        return ""
    mirroring.save_remote_ids(link, RemoteIds(ticket_id=said.ticket.id))
    reply = reply_identity.register_chat_reply(
        conversation, said, at=event.received_at, comments_come=batch.comments_come
    )
    if reply is not None:
        _relay_reply(reply, text=said.text, files=said.files, by=batch.name_of(link.assignee))
    _follow_request(batch, link, said, event)
    operators.request_operator_names(batch.connection, link.assignee)
    return "" if reply is not None else _("Known already.")


def _handle_merged_chat_message(batch: EventBatch, said: MessageSent, event: WebhookEvent) -> str:
    """Relay a reply written in the helpdesk's chat of a client who was merged into another.

    The request of the other chat continues, so this one's status and numbers are not followed.
    """
    merged = MergedConversation.objects.filter(
        conversation__chat_channel=batch.chat_channel, helpdesk_chat_id=said.chat_id, helpdesk_chat_id__isnull=False
    ).first()
    if merged is None:
        return _("Not a chat of ours.")
    if not said.by_operator:
        return ""
    conversation = receiving.lock_conversation(merged.conversation_id)
    reply = reply_identity.register_chat_reply(
        conversation, said, at=event.received_at, comments_come=batch.comments_come
    )
    if reply is None:
        return _("Known already.")
    _relay_reply(reply, text=said.text, files=said.files, by="")
    return ""


def _follow_request(batch: EventBatch, link: HelpdeskChat, said: MessageSent, event: WebhookEvent) -> None:
    if mirroring.follow_request(link, said.ticket):
        batch.saw("moved", event.received_at)  # without a change event, its checkbox is not ticked


def _is_check_message(connection: HelpdeskConnection, said: MessageSent) -> bool:
    """Return whether this is the connection check's own message, which needs no processing."""
    token, chat_id = connection.check_state.get("token"), connection.check_state.get("chat_id")
    return bool(token and token in said.text) or (said.chat_id is not None and said.chat_id == chat_id)


def _find_by_chat(chat_channel: ChatChannel, said: MessageSent) -> HelpdeskChat | None:
    """Find the chat by its ID, or by the client's ID if the response to our first message was lost."""
    rows = HelpdeskChat.objects.filter(chat_channel=chat_channel)
    found = rows.filter(chat_id=said.chat_id).first() if said.chat_id else None
    if found is None and said.client_id:
        found = rows.filter(client_id=said.client_id, chat_id=None).order_by("pk").first()
        if found is not None:
            mirroring.save_remote_ids(found, RemoteIds(chat_id=said.chat_id))
    return found


def _confirm_delivery(conversation: Conversation, said: MessageSent) -> None:
    """Mark a delivery as arrived when our own message comes back as an event."""
    head = (
        Delivery.objects.select_for_update(no_key=True)
        .filter(conversation=conversation, kind=Delivery.Kind.HELPDESK, state__in=Delivery.UNFINISHED, attempts__gt=0)
        .order_by("pk")
        .first()
    )
    if head is None or reply_identity.hash_text(_get_sent_text(head)) != reply_identity.hash_text(said.text):
        return
    if head.state == Delivery.State.PENDING and (head.payload.get("unsure") or head.reason == "outcome_unknown"):
        head.state, head.finished_at, head.reason = Delivery.State.DELIVERED, timezone.now(), ""
        head.save(update_fields=["state", "finished_at", "reason"])
    elif head.state == Delivery.State.SENDING:
        head.payload["came_back"] = True
        head.save(update_fields=["payload"])


def _get_sent_text(delivery: Delivery) -> str:
    """Return a message's text with the links to its files, as it was sent to the helpdesk except for white space."""
    return "\n".join([str(delivery.payload.get("text", "")), *delivery.payload.get("files", [])])


# --- comments --------------------------------------------------------------------------------------------


def _handle_comment(batch: EventBatch, comment: CommentAdded, event: WebhookEvent) -> str:
    if comment.by_rule and not batch.chat_channel.options.get("relay_rules"):
        return _("A rule's message: this channel does not relay them.")
    link = _find_by_ticket(batch.chat_channel, comment.ticket_id)
    if link is None:
        return _("Not a request of ours.")
    conversation = receiving.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    reply = reply_identity.register_comment_reply(conversation, comment, at=event.received_at)
    by = batch.name_of(link.assignee)
    if reply is None:
        _relay_new_files(conversation, comment.files, by=by)
        return _("Known already.")
    _relay_reply(reply, text=comment.text, files=comment.files, by=by)
    return ""


def _find_by_ticket(chat_channel: ChatChannel, number: int | None) -> HelpdeskChat | None:
    if number is None:
        return None
    rows = HelpdeskChat.objects.filter(chat_channel=chat_channel)
    found = rows.filter(ticket_id=number).first()
    if found is None:
        earlier = Ticket.objects.filter(external_id=number, conversation__chat_channel=chat_channel).first()
        found = rows.filter(conversation=earlier.conversation_id).first() if earlier else None
    return found


# --- to the client ---------------------------------------------------------------------------------------


def _relay_reply(reply: HelpdeskReply, *, text: str, files: Sequence[str], by: str) -> None:
    """Submit the operator's reply to the client. A refusal goes back to the operator with the reason."""
    conversation = reply.conversation
    message = _submit_text(conversation, _add_file_links(conversation, text, files), by=by)
    if message is not None:
        HelpdeskReply.objects.filter(pk=reply.pk).update(message=message)


def _relay_new_files(conversation: Conversation, files: Sequence[str], *, by: str) -> None:
    """Relay files of a known reply: its chat event may have come without them."""
    fresh = [link for link in files if not operator_notes.is_link_known(conversation, link)]
    if fresh:
        _submit_text(conversation, _add_file_links(conversation, "", fresh), by=by)


def _add_file_links(conversation: Conversation, text: str, files: Sequence[str]) -> str:
    """Return the text with file links if the channel sends them; otherwise note that the files were not sent."""
    if files and conversation.chat_channel.options.get("links_for_files"):
        return "\n".join([*([text] if text.strip() else []), *files])
    if files:
        operator_notes.note_unsent_files(conversation, files)
    return text


def _submit_text(conversation: Conversation, text: str, *, by: str) -> Message | None:
    if not text.strip():
        return None
    with operator_notes.use_operator_language(conversation):  # the refusal's reason is for them
        handed = reply_submission.submit_reply(conversation_id=conversation.pk, text=text, author=None)
    if handed.message is None:
        operator_notes.note_refused_reply(conversation, handed.decision, text)
        return None
    operator_notes.note_sent_as_template(conversation, handed.decision)
    if by:
        details = handed.message.details | {"operator": by}
        Message.objects.filter(pk=handed.message.pk).update(details=details)
    return handed.message
