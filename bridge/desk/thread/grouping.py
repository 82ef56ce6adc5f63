"""Groups of messages by the same author in the same minute, which share one name and time.

Also drops notices that repeat what their message already says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from bridge.models import Message

from .items import ThreadItem
from .message_view import MessageView

REPEATING_NOTICES = ("not_delivered", "may_have_been_sent")
UNRESOLVED = (Message.Status.FAILED, Message.Status.UNKNOWN)
NEAR = 8  # a notice at most this many messages below its failed message says nothing new


def drop_repeating_notices(messages: Sequence[Message]) -> list[Message]:
    """Drop notices about a message that shows its failure itself, or whose failure has been resolved."""
    places = {message.pk: place for place, message in enumerate(messages)}

    def repeats(place: int, notice: Message) -> bool:
        if notice.direction != Message.Direction.NOTICE or notice.reason not in REPEATING_NOTICES:
            return False
        about = places.get(notice.details.get("message_id", 0))
        if about is None:
            return False
        return messages[about].status not in UNRESOLVED or abs(place - about) <= NEAR

    return [message for place, message in enumerate(messages) if not repeats(place, message)]


def group_messages(items: Iterable[ThreadItem]) -> list[ThreadItem]:
    """Mark the messages that follow one of the same author and minute, and those that such a message follows."""
    grouped: list[ThreadItem] = []
    for item in items:
        previous = grouped[-1] if grouped else None
        if previous and previous.message and item.message and _belong_together(previous.message, item.message):
            if _says_the_same(previous.message, item.message):
                grouped[-1] = replace(previous, version=f"{previous.version} leads", is_followed=True)
            item = replace(item, version=f"{item.version} follows", follows=True)
        grouped.append(item)
    return grouped


def _belong_together(first: MessageView, second: MessageView) -> bool:
    one, other = first.message, second.message
    return (
        one.direction == other.direction
        and one.ticket_id == other.ticket_id
        and not first.is_notice
        and (not first.is_ours or first.author == second.author)
        and _minute(first) == _minute(second)
    )


def _minute(view: MessageView) -> datetime:
    return view.written_at.replace(second=0, microsecond=0)


def _says_the_same(first: MessageView, second: MessageView) -> bool:
    """Return whether the second message's time and ticks hold for the first one, too."""
    if first.problem or first.received_at or first.message.reactions:
        return False
    return first.message.status == second.message.status
