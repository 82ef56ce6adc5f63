"""Deduplication of an external helpdesk's events that have no ID.

The rule is in docs/decisions.md ("Replies without an ID"). In short: the event hash covers the content of an event and
the helpdesk's timestamp. Equal events within DUPLICATE_INTERVAL of the first are numbered 1, 2, 3…, and each is a reply
of its own; a later equal event is a redelivery. The event that opens or resumes a chat is always number 1, because two
checkboxes may raise it. Comments have IDs. If the helpdesk sends comments, too, the first of several equal replies is
taken from the chat event, the others from their comments.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta

from django.db.models import QuerySet

from channels_setup.codecs.html_text import html_to_visible_text
from channels_setup.providers.base.helpdesk import CommentAdded, MessageSent

from ..models import Conversation, HelpdeskDuplicateWindow, HelpdeskReply

DUPLICATE_INTERVAL = timedelta(seconds=2)  # repeated replies arrive within this; redeliveries arrive later
PAIRING_INTERVAL = timedelta(minutes=10)  # between a chat event and the comment of the same reply
UNSTAMPED_INTERVAL = timedelta(minutes=1)  # an equal reply without a timestamp is new after this


def hash_event(fact: MessageSent) -> str:
    """Return the hash of an event's content, or the event's ID if it has one."""
    if fact.event_id:
        return f"id {fact.event_id}"
    content = [fact.chat_id, fact.text, fact.files, fact.ticket.updated, fact.state]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def hash_text(text: str) -> str:
    """Return a hash of a reply's text that is equal for the chat event and the comment.

    They differ in white space, in formatting, and in unescaped markup.
    """
    return hashlib.sha256(re.sub(r"[\s*_~`]+", "", html_to_visible_text(text)).encode()).hexdigest()


def register_chat_reply(
    conversation: Conversation, fact: MessageSent, *, at: datetime, has_comment_events: bool
) -> HelpdeskReply | None:
    """Store and return a new reply; return None for a redelivery, or if its comment is relayed instead.

    The caller holds the conversation's lock. `at`: when the event reached us.
    """
    event_hash = hash_event(fact)
    if fact.event_id or fact.state:
        number = 1
    else:
        window = _count_duplicate(conversation, event_hash, at=at, is_stamped=bool(fact.ticket.updated))
        if window is None:
            return None
        number = window.count
        event_hash = event_hash if fact.ticket.updated else _salt_hash(event_hash, window.began_at)
    known = HelpdeskReply.objects.filter(conversation=conversation, event_hash=event_hash, ordinal=number).first()
    if known is not None:
        if fact.event_id or fact.ticket.updated or at - known.received_at <= UNSTAMPED_INTERVAL:
            return None
        event_hash = _salt_hash(event_hash, at)
    if number > 1 and has_comment_events:
        return None  # not paired: a duplicate would be paired with another reply's comment
    text_hash = hash_text(fact.text)
    from_comment = _find_unpaired(conversation, text_hash, at=at).filter(event_hash="").first()
    if from_comment is not None:
        from_comment.event_hash, from_comment.ordinal = event_hash, number
        from_comment.save(update_fields=["event_hash", "ordinal"])
        return None
    return HelpdeskReply.objects.create(
        conversation=conversation, event_hash=event_hash, ordinal=number, text_hash=text_hash, received_at=at
    )


def register_comment_reply(conversation: Conversation, comment: CommentAdded, *, at: datetime) -> HelpdeskReply | None:
    """Store and return a new reply from a comment, by the comment's ID; return None for a known one."""
    if HelpdeskReply.objects.filter(conversation=conversation, comment_id=comment.comment_id).exists():
        return None
    text_hash = hash_text(comment.visible_text or comment.text)
    from_chat = _find_unpaired(conversation, text_hash, at=at).filter(comment_id="").exclude(event_hash="").first()
    if from_chat is not None:
        from_chat.comment_id = comment.comment_id
        from_chat.save(update_fields=["comment_id"])
        return None
    return HelpdeskReply.objects.create(
        conversation=conversation, comment_id=comment.comment_id, text_hash=text_hash, received_at=at
    )


def _find_unpaired(conversation: Conversation, text_hash: str, *, at: datetime) -> QuerySet[HelpdeskReply]:
    rows = HelpdeskReply.objects.filter(
        conversation=conversation, text_hash=text_hash, received_at__gte=at - PAIRING_INTERVAL
    )
    return rows.order_by("received_at", "pk")


def _count_duplicate(
    conversation: Conversation, event_hash: str, *, at: datetime, is_stamped: bool
) -> HelpdeskDuplicateWindow | None:
    """Count this event in its duplicate window; return None if it came too late to be a repeat."""
    window, _made = HelpdeskDuplicateWindow.objects.get_or_create(
        conversation=conversation, event_hash=event_hash, defaults={"began_at": at}
    )
    if at - window.began_at > DUPLICATE_INTERVAL:
        if is_stamped or at - window.began_at <= UNSTAMPED_INTERVAL:
            return None
        window.began_at, window.count = at, 0
    window.count += 1
    window.save(update_fields=["began_at", "count"])
    return window


def _salt_hash(event_hash: str, at: datetime) -> str:
    return hashlib.sha256(f"{event_hash} {at.isoformat()}".encode()).hexdigest()
