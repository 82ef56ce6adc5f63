"""Looks at chats of others in the audit record: once per person and chat in an hour.

A look is recorded if the chat is assigned to a colleague, or if it is assigned to nobody and the person sees it by a
role that sees all chats. Own chats, and unassigned chats of an operator's channels, cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.models import Conversation
from config.audit import record

CONVERSATION = "bridge.conversation"


def is_chat_of_others(user: Any, assignee_id: int | None) -> bool:
    if assignee_id is None:
        return bool(user.has_perm("channels_setup.change_apichannel"))
    return bool(assignee_id != user.pk)


def record_chat_look(user: Any, conversation: Conversation) -> None:
    if is_chat_of_others(user, conversation.assignee_id):
        record.record_looks(CONVERSATION, [conversation.pk])


def record_chat_looks(user: Any, chats: Iterable[tuple[int, int | None]]) -> None:
    """Record looks at the chats of a response of the API, given as (chat, assignee)."""
    others = {pk for pk, assignee_id in chats if is_chat_of_others(user, assignee_id)}
    if others:
        record.record_looks(CONVERSATION, others)
