"""Step 3, receiving: store contacts' messages with contact, conversation and request; extend the service window.

``receive_messages`` stores a batch of one API channel with a fixed number of queries. A message (by the provider's ID)
is stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from bridge import service_window, wakeups
from bridge.fanout import helpdesk_messages, subscribers
from bridge.files import attachment_files
from bridge.metrics import recording
from bridge.models import Contact, Conversation, Message, Ticket
from bridge.row_inserts import build_row, insert_rows
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import MessageReceived

from . import (
    batch_lookup,
    consents,
    contact_links,
    contacts,
    conversation_creation,
    last_messages,
    merge_lookup,
    message_lookup,
)
from .activity import NewActivity, record_activities

MAX_CLOCK_SKEW = timedelta(days=30)  # a provider's timestamp further off is not trusted


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """Result for one message. A repeat returns the stored row with ``is_new`` False."""

    message: Message
    conversation: Conversation
    is_new: bool
    opened_chat: bool = False
    has_held_replies: bool = False  # the chat had some when the message was stored
    has_corrections: bool = False  # pending ones of this message

    @property
    def contact_ids(self) -> set[int]:
        """Return the contacts that the message names: the chat's own, and a merged one that wrote it."""
        return list_contact_ids(self.message, self.conversation)


@dataclass(frozen=True, kw_only=True)
class IncomingMessage:
    """A contact's message and its chat channel. ``contact``: set if the caller has already found it.

    ``ticket_id``: an open request of the chat to put the message into, if it is not the current one.
    """

    fact: MessageReceived
    chat_channel: ChatChannel
    contact: Contact | None = None
    uploads: tuple[UploadedFile[bytes], ...] = ()
    ticket_id: int | None = None


@transaction.atomic(savepoint=False)
def receive_messages(
    api_channel: ApiChannel,
    incoming: Sequence[IncomingMessage],
    *,
    known_chats: Sequence[Conversation] | None = None,
    find_watchers: subscribers.FindWatchers = subscribers.find_watchers,
) -> list[ReceivedMessage]:
    """Store contacts' messages, extend their windows, queue the events. Return results in the same order.

    ``known_chats``: the locked conversations of the messages, if ``lock_known_chats`` found them all.
    """
    conversations = known_chats
    new_chat_ids: set[int] = set()
    changes: list[contact_links.IdentityChange] = []
    if conversations is None:
        incoming, conversations, new_chat_ids, changes = _find_or_create_chats(api_channel, incoming)
    found = batch_lookup.look_up(
        api_channel, {row.pk for row in conversations}, {item.fact.external_id for item in incoming} - {""}
    )
    existing = found.messages
    items = list(zip(incoming, conversations, strict=True))
    new_items: list[tuple[IncomingMessage, Conversation]] = []
    seen_ids: set[str] = set()
    for item, conversation in items:
        external_id = item.fact.external_id
        if external_id and (external_id in existing or external_id in seen_ids):
            continue
        seen_ids.add(external_id)
        new_items.append((item, conversation))
    stored = _store_messages(api_channel, new_items, found, new_chat_ids=new_chat_ids, find_watchers=find_watchers)
    by_external = {message.external_id: message for message in stored if message.external_id} | existing
    remaining = iter(stored)
    stored_ids = {message.pk for message in stored}
    results = []
    reported: set[int] = set()
    for item, conversation in items:
        message = by_external[item.fact.external_id] if item.fact.external_id else None
        if message is None:
            message = next(m for m in remaining if not m.external_id)
        is_new = message.pk in stored_ids and message.pk not in reported
        reported.add(message.pk)
        results.append(
            ReceivedMessage(
                message=message,
                conversation=conversation if is_new else message.conversation,
                is_new=is_new,
                opened_chat=conversation.pk in new_chat_ids if is_new else _opened_chat(message),
                has_held_replies=is_new and conversation.pk in found.held_replies,
                has_corrections=is_new and item.fact.external_id in found.corrections,
            )
        )
    contact_links.announce_changes(changes)
    consents.apply_words(stored)
    recording.count_received_messages(api_channel.pk, new=len(stored), duplicates=len(items) - len(stored))
    return results


def _find_or_create_chats(
    api_channel: ApiChannel, incoming: Sequence[IncomingMessage]
) -> tuple[list[IncomingMessage], list[Conversation], set[int], list[contact_links.IdentityChange]]:
    """Find or create contacts and conversations, and lock the conversations.

    Return the messages with their contact, their conversations, the IDs of new conversations, and changes of contacts
    to announce.
    """
    data = [contacts.ContactData(info=item.fact.contact, contact=item.contact, at=item.fact.at) for item in incoming]
    resolved = contacts.resolve_contacts(api_channel, data)
    messages = [replace(item, contact=writer) for item, writer in zip(incoming, resolved.contacts, strict=True)]
    pairs = [(writer, item.chat_channel) for writer, item in zip(resolved.contacts, incoming, strict=True)]
    by_pair, new_chat_ids = conversation_creation.get_or_create_conversations(api_channel, pairs)
    conversations = [by_pair[writer.pk, chat_channel.pk] for writer, chat_channel in pairs]
    return messages, conversations, new_chat_ids, resolved.changes


def list_contact_ids(message: Message, conversation: Conversation) -> set[int]:
    """Return the contacts of a message: the chat's own, and the merged one that sent or receives it."""
    return {conversation.contact_id, message.merged_contact_id} - {None}  # type: ignore[return-value]  # None removed


def _opened_chat(message: Message) -> bool:
    """Return whether a stored message is the first of its chat, so that a repeat gets the same response."""
    return not Message.objects.filter(conversation=message.conversation_id, pk__lt=message.pk).exists()


def lock_conversation(conversation_id: int) -> Conversation:
    """Lock a conversation until the transaction ends. It is the first lock in the lock order.

    If the conversation was merged into another one, that one is locked and returned.
    """
    rows = Conversation.objects.select_for_update(of=("self",), no_key=True).select_related(
        "contact", "chat_channel", "api_channel"
    )
    found = rows.filter(pk=conversation_id).first()
    return found or rows.get(pk=merge_lookup.find_current_conversation(conversation_id) or 0)


# --- tickets and messages --------------------------------------------------------------------------------


def _store_messages(
    api_channel: ApiChannel,
    items: Sequence[tuple[IncomingMessage, Conversation]],
    found: batch_lookup.BatchLookup,
    *,
    new_chat_ids: set[int],
    find_watchers: subscribers.FindWatchers,
) -> list[Message]:
    if not items:
        return []
    now = found.now
    tickets, states, new_tickets = _resolve_tickets(items, found.tickets, new_chat_ids=new_chat_ids)
    messages = insert_rows(
        [
            build_row(
                Message,
                conversation=conversation,
                merged_contact=item.contact if item.contact and item.contact.pk != conversation.contact_id else None,
                api_channel=api_channel,
                ticket=tickets[conversation.pk],
                direction=Message.Direction.INBOUND,
                kind=Message.Kind.TEXT if item.fact.text else Message.Kind.FILE,
                text=item.fact.text,
                external_id=item.fact.external_id,
                provider_time=item.fact.at,
                status=Message.Status.RECEIVED,
                details={"odd_clock": True} if item.fact.at and abs(now - item.fact.at) > MAX_CLOCK_SKEW else {},
                shown=dict(item.fact.shown),
            )
            for item, conversation in items
        ]
    )
    pairs = list(zip(messages, (item for item, _conversation in items), strict=True))
    quotes = [(message, item.fact.quoted_id) for message, item in pairs if item.fact.quoted_id]
    message_lookup.link_quotes(api_channel, quotes)
    links = _attach_files(pairs)
    extended, others = service_window.split_activities(
        _find_newest_activities(pairs, now=now), found.open_windows, now=now
    )
    if others:
        service_window.extend_windows(others, now=now)
    stamps = {message.pk: subscribers.advance_event_stamp(message.conversation, now=now) for message in messages}
    last_messages.save_chats(messages, extended, now=now)
    contexts = []
    for message in messages:
        pk = message.conversation_id
        contexts.append(
            subscribers.MessageContext(
                message=message,
                conversation=message.conversation,
                ticket=tickets[pk],
                state=states.pop(pk, None),
                new_ticket=pk in new_tickets,
                stamp=stamps[message.pk],
                files=links.get(message.pk, ()),
            )
        )
        new_tickets.discard(pk)
    events = subscribers.build_deliveries(contexts, find_watchers=find_watchers)
    if insert_rows([*events, *helpdesk_messages.build_helpdesk_deliveries(contexts)]):
        wakeups.notify_after_commit(wakeups.EVENTS)
    return messages


def _resolve_tickets(
    items: Sequence[tuple[IncomingMessage, Conversation]], live: Sequence[Ticket], *, new_chat_ids: set[int]
) -> tuple[dict[int, Ticket], dict[int, str], set[int]]:
    """Return each chat's open request, its state for events (new, reopened), and the chats with a new request."""
    first_texts: dict[int, str] = {}
    conversations: dict[int, Conversation] = {}
    for item, conversation in items:
        first_texts.setdefault(conversation.pk, item.fact.text)
        conversations[conversation.pk] = conversation
    named = {item.ticket_id for item, _conversation in items if item.ticket_id is not None}
    tickets = {ticket.conversation_id: ticket for ticket in live}  # the newest one is current
    tickets |= {ticket.conversation_id: ticket for ticket in live if ticket.pk in named}
    reopened = [ticket for ticket in tickets.values() if ticket.status == Ticket.Status.SOLVED]
    for ticket in reopened:
        ticket.status, ticket.closed_at, ticket.updated_at = Ticket.Status.OPEN, None, timezone.now()
    if reopened:
        Ticket.objects.bulk_update(reopened, ["status", "closed_at", "updated_at"])
        record_activities(
            NewActivity(conversation_id=ticket.conversation_id, kind="reopened_by_client", ticket_id=ticket.pk)
            for ticket in reopened
        )
    created = Ticket.objects.bulk_create(
        [
            Ticket(
                conversation=conversation,
                assignee_id=conversation.assignee_id,
                team_id=conversation.team_id,
                subject=first_texts[pk].split("\n")[0][:80],
                first_text=first_texts[pk],
            )
            for pk, conversation in sorted(conversations.items())
            if pk not in tickets
        ]
    )
    tickets |= {ticket.conversation_id: ticket for ticket in created}
    resumed = {ticket.conversation_id for ticket in [*created, *reopened]}
    states = {pk: "new" if pk in new_chat_ids else "reopened" for pk in resumed | new_chat_ids}
    return tickets, states, {ticket.conversation_id for ticket in created}


def _attach_files(pairs: Sequence[tuple[Message, IncomingMessage]]) -> dict[int, list[str]]:
    attachments = attachment_files.create_attachments((message, item.fact.files) for message, item in pairs)
    for message, item in pairs:
        if item.uploads:
            attachments += attachment_files.store_attachments(message, item.uploads)
    links: dict[int, list[str]] = {}
    for attachment in attachments:
        links.setdefault(attachment.message_id, []).append(subscribers.build_file_link(attachment))
    return links


def _find_newest_activities(
    pairs: Sequence[tuple[Message, IncomingMessage]], *, now: datetime
) -> list[service_window.ContactActivity]:
    """Return the newest message of each contact in each conversation."""
    newest: dict[service_window.WindowKey, service_window.ContactActivity] = {}
    for message, item in pairs:
        if not item.fact.opens_window:
            continue
        key = message.conversation_id, message.merged_contact_id
        activity = service_window.ContactActivity(
            conversation_id=message.conversation_id,
            at=item.fact.at or now,
            message_id=message.pk,
            merged_contact_id=message.merged_contact_id,
        )
        if key not in newest or activity.at > newest[key].at:
            newest[key] = activity
    return list(newest.values())
