"""Process an external helpdesk's stored events into replies and changes, in order, each exactly once.

Called by the inbox under the chat channel's lock. Each event is a transaction of its own, so a failing event affects no
other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import person_erased
from bridge.conversations import erased_ids, receiving
from bridge.fanout import operator_notes
from bridge.metrics import recording
from bridge.person_erased import PersonErased
from bridge.raw_requests import CLEARED_FIELDS, mark_event_failed, restore_request
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
    first_events: dict[str, datetime] = field(default_factory=dict)  # event type → time of the first event
    # The contacts that the event being processed names.
    contact_ids: set[int] = field(default_factory=set)

    def lock_conversation(self, conversation_id: int) -> Conversation:
        """Lock the conversation of the event, and record its contact. Raises PersonErased."""
        conversation = receiving.lock_conversation(conversation_id)
        self.contact_ids.add(conversation.contact_id)
        if conversation.is_erased:
            raise PersonErased
        return conversation

    def explain_unknown(self, sentence: str, **numbers: int | None) -> str:
        """Return the remark on an event of an unknown chat or request. Raises PersonErased for an erased one."""
        if erased_ids.has_erased_number(self.chat_channel.pk, numbers):
            raise PersonErased
        return sentence

    def record_event(self, track: str, at: datetime) -> None:
        """Record the time of the first event of each type."""
        self.first_events.setdefault(track, at)

    def get_operator_name(self, assignee: str) -> str:
        """Return the name of the chat's assignee: events do not name the author of a reply."""
        return str(self.connection.operators.get(assignee, assignee))

    @property
    def has_comment_events(self) -> bool:
        """Whether this helpdesk sends comment events."""
        return "comment" in self.connection.first_events or "comment" in self.first_events


def process_helpdesk_events(chat_channel_id: int, events: Sequence[WebhookEvent]) -> None:
    """Process stored events of one chat channel. Raise after a database error; later events keep their order."""
    chat_channel = ChatChannel.objects.get(pk=chat_channel_id)
    account = chat_channel.helpdesk_account()
    connection, _made = HelpdeskConnection.objects.get_or_create(chat_channel=chat_channel)
    batch = EventBatch(chat_channel, connection)
    error: Exception | None = None
    for event in events:
        batch.contact_ids = set()
        try:
            with transaction.atomic():
                facts = chat_channel.provider.parse(restore_request(event), account)
                remark = "".join(_apply_fact(batch, fact, event) for fact in facts)
                _finish_event(event, error=remark, contact_ids=sorted(batch.contact_ids))
        except (OperationalError, InterfaceError) as problem:
            error = problem  # later events must not overtake it
            break
        except BadBody as problem:
            batch.record_event("unknown", event.received_at)
            mark_event_failed(event, problem)
        except Exception as problem:
            if person_erased.is_refusal(problem):
                _finish_event(event, contact_ids=sorted(batch.contact_ids), **CLEARED_FIELDS)
                continue
            mark_event_failed(event, problem)
    _save_seen_events(batch, at=events[-1].received_at)
    if error is not None:
        raise error


def _finish_event(event: WebhookEvent, **values: Any) -> None:
    WebhookEvent.objects.filter(pk=event.pk).update(
        **{"state": WebhookEvent.State.PROCESSED, "processed_at": timezone.now(), "error": "", "traceback": ""} | values
    )
    recording.count_finished_events([event], WebhookEvent.State.PROCESSED)


def _apply_fact(batch: EventBatch, fact: HelpdeskFact, event: WebhookEvent) -> str:
    """Apply one fact. Return a remark for the event's page if it had no effect."""
    if isinstance(fact, EventSeen):
        batch.record_event(fact.track, event.received_at)
        return ""
    if isinstance(fact, MessageSent):
        return _handle_message(batch, fact, event)
    if isinstance(fact, CommentAdded):
        return _handle_comment(batch, fact, event)
    link = _find_by_ticket(batch.chat_channel, fact.ticket.id)
    if link is None:
        return batch.explain_unknown(_("This request does not belong to a chat in the portal."), ticket=fact.ticket.id)
    batch.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    mirroring.follow_request(link, fact.ticket)
    operators.request_operator_names(batch.connection, link.assignee)
    return ""


@transaction.atomic
def _save_seen_events(batch: EventBatch, *, at: datetime) -> None:
    connection = _lock_connection(batch.chat_channel)
    first_events = {track: first.isoformat() for track, first in batch.first_events.items()}
    connection.first_events = first_events | connection.first_events
    connection.last_event_at = at
    connection.save(update_fields=["first_events", "last_event_at"])


@transaction.atomic
def record_refused_event(chat_channel: ChatChannel) -> None:
    """Record that an event had the right path but a wrong secret. The connection check reports it."""
    connection = _lock_connection(chat_channel)
    connection.first_events["refused"] = timezone.now().isoformat()
    connection.save(update_fields=["first_events"])


def _lock_connection(chat_channel: ChatChannel) -> HelpdeskConnection:
    return HelpdeskConnection.objects.select_for_update(no_key=True).get_or_create(chat_channel=chat_channel)[0]


# --- chats -----------------------------------------------------------------------------------------------


def _handle_message(batch: EventBatch, fact: MessageSent, event: WebhookEvent) -> str:
    if _is_check_message(batch.connection, fact):
        return ""
    link = _find_by_chat(batch.chat_channel, fact)
    if link is None:
        return _handle_merged_chat_message(batch, fact, event)
    conversation = batch.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    if not fact.by_operator:
        _confirm_delivery(conversation, fact)
        mirroring.save_remote_ids(link, RemoteIds(chat_id=fact.chat_id, client_id=fact.client_id))
        _follow_request(batch, link, fact, event)
        return ""
    mirroring.save_remote_ids(link, RemoteIds(ticket_id=fact.ticket.id))
    reply = reply_identity.register_chat_reply(
        conversation, fact, at=event.received_at, has_comment_events=batch.has_comment_events
    )
    if reply is not None:
        _relay_reply(reply, text=fact.text, files=fact.files, by=batch.get_operator_name(link.assignee))
    _follow_request(batch, link, fact, event)
    operators.request_operator_names(batch.connection, link.assignee)
    return "" if reply is not None else _("Already processed.")


def _handle_merged_chat_message(batch: EventBatch, fact: MessageSent, event: WebhookEvent) -> str:
    """Relay a reply written in the helpdesk's chat of a client who was merged into another.

    The request of the other chat continues, so this one's status and numbers are not followed.
    """
    merged = MergedConversation.objects.filter(
        conversation__chat_channel=batch.chat_channel, helpdesk_chat_id=fact.chat_id, helpdesk_chat_id__isnull=False
    ).first()
    if merged is None:
        return batch.explain_unknown(
            _("This chat does not belong to a client in the portal."),
            chat=fact.chat_id,
            client=fact.client_id,
            ticket=fact.ticket.id,
        )
    conversation = batch.lock_conversation(merged.conversation_id)
    if not fact.by_operator:
        return ""
    reply = reply_identity.register_chat_reply(
        conversation, fact, at=event.received_at, has_comment_events=batch.has_comment_events
    )
    if reply is None:
        return _("Already processed.")
    _relay_reply(reply, text=fact.text, files=fact.files, by="")
    return ""


def _follow_request(batch: EventBatch, link: HelpdeskChat, fact: MessageSent, event: WebhookEvent) -> None:
    if mirroring.follow_request(link, fact.ticket):
        batch.record_event("moved", event.received_at)  # without a change event, its checkbox is not ticked


def _is_check_message(connection: HelpdeskConnection, fact: MessageSent) -> bool:
    """Return whether this is the connection check's own message, which needs no processing."""
    token, chat_id = connection.check_state.get("token"), connection.check_state.get("chat_id")
    return bool(token and token in fact.text) or (fact.chat_id is not None and fact.chat_id == chat_id)


def _find_by_chat(chat_channel: ChatChannel, fact: MessageSent) -> HelpdeskChat | None:
    """Find the chat by its ID, or by the client's ID if the response to our first message was lost."""
    rows = HelpdeskChat.objects.filter(chat_channel=chat_channel)
    found = rows.filter(chat_id=fact.chat_id).first() if fact.chat_id else None
    if found is None and fact.client_id:
        found = rows.filter(client_id=fact.client_id, chat_id=None).order_by("pk").first()
        if found is not None:
            mirroring.save_remote_ids(found, RemoteIds(chat_id=fact.chat_id))
    return found


def _confirm_delivery(conversation: Conversation, fact: MessageSent) -> None:
    """Mark a delivery as arrived when our own message comes back as an event."""
    head = (
        Delivery.objects.select_for_update(no_key=True)
        .filter(conversation=conversation, kind=Delivery.Kind.HELPDESK, state__in=Delivery.UNFINISHED, attempts__gt=0)
        .order_by("pk")
        .first()
    )
    if head is None or reply_identity.hash_text(_get_sent_text(head)) != reply_identity.hash_text(fact.text):
        return
    if head.state == Delivery.State.PENDING and (
        head.payload.get("may_have_arrived") or head.reason == "outcome_unknown"
    ):
        head.state, head.finished_at, head.reason = Delivery.State.DELIVERED, timezone.now(), ""
        head.save(update_fields=["state", "finished_at", "reason"])
    elif head.state == Delivery.State.SENDING:
        head.payload["is_confirmed"] = True
        head.save(update_fields=["payload"])


def _get_sent_text(delivery: Delivery) -> str:
    """Return a message's text with the links to its files, as it was sent to the helpdesk except for white space."""
    return "\n".join([str(delivery.payload.get("text", "")), *delivery.payload.get("files", [])])


# --- comments --------------------------------------------------------------------------------------------


def _handle_comment(batch: EventBatch, comment: CommentAdded, event: WebhookEvent) -> str:
    if comment.by_rule and not batch.chat_channel.options.get("relay_rules"):
        return _("Sent by a rule. This channel does not relay rule messages.")
    link = _find_by_ticket(batch.chat_channel, comment.ticket_id)
    if link is None:
        return batch.explain_unknown(
            _("This request does not belong to a chat in the portal."), ticket=comment.ticket_id
        )
    conversation = batch.lock_conversation(link.conversation_id)
    link.refresh_from_db()
    reply = reply_identity.register_comment_reply(conversation, comment, at=event.received_at)
    by = batch.get_operator_name(link.assignee)
    if reply is None:
        _relay_new_files(conversation, comment.files, by=by)
        return _("Already processed.")
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


# --- replies to the client ---------------------------------------------------------------------------------------


def _relay_reply(reply: HelpdeskReply, *, text: str, files: Sequence[str], by: str) -> None:
    """Submit the operator's reply to the client. A refusal goes back to the operator with the reason."""
    conversation = reply.conversation
    message = _submit_text(conversation, _add_file_links(conversation, text, files), by=by)
    if message is not None:
        HelpdeskReply.objects.filter(pk=reply.pk).update(message=message)


def _relay_new_files(conversation: Conversation, files: Sequence[str], *, by: str) -> None:
    """Relay files of a known reply: its chat event may have come without them."""
    new_links = [link for link in files if not operator_notes.is_link_known(conversation, link)]
    if new_links:
        _submit_text(conversation, _add_file_links(conversation, "", new_links), by=by)


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
    with operator_notes.use_operator_language(conversation):  # for the reason of a refusal
        result = reply_submission.submit_reply(conversation_id=conversation.pk, text=text, author=None)
    if result.message is None:
        operator_notes.note_refused_reply(conversation, result.decision, text)
        return None
    operator_notes.note_sent_as_template(conversation, result.decision)
    if by:
        details = result.message.details | {"operator": by}
        Message.objects.filter(pk=result.message.pk).update(details=details)
    return result.message
