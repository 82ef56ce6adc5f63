"""Replies of two operators in one chat: the second one sees the first before sending, and the first takes the chat."""

from __future__ import annotations

from typing import Any

from bridge.conversations import receiving, tickets
from bridge.models import Message


class AnsweredMeanwhile(Exception):
    """A colleague's reply was stored after the operator began to type."""

    def __init__(self, reply: Message) -> None:
        super().__init__("answered meanwhile")
        self.reply = reply


def check_no_reply_since(conversation_id: int, *, author: Any, seen: int | None) -> None:
    """Raise AnsweredMeanwhile if a colleague has replied since the message ``seen``; None: unknown, nothing is checked.

    Locks the chat, so that of two replies in the same moment exactly one goes through. Call it in the transaction that
    stores the reply. Replies of programs have no author and do not count.
    """
    if seen is None:
        return
    conversation = receiving.lock_conversation(conversation_id)
    newer = Message.objects.filter(
        conversation=conversation, direction=Message.Direction.OUTBOUND, author__isnull=False, pk__gt=seen
    ).exclude(author=author)
    reply = newer.select_related("author").order_by("-pk").first()
    if reply is not None:
        raise AnsweredMeanwhile(reply)


def take_unassigned_chat(conversation_id: int, *, author: Any) -> None:
    """Assign an unassigned chat to its answerer, if its chat channel is set so. The chat's team stays."""
    conversation = receiving.lock_conversation(conversation_id)
    if conversation.assignee_id is None and conversation.chat_channel.assigns_answerer:
        tickets.assign_chat(conversation.pk, user_id=author.pk, by=author.pk, line="answered")
