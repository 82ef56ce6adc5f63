"""Looks at chats of others in the audit record: once per person and chat in an hour.

A look is recorded if the chat is assigned to a colleague, or if it is assigned to nobody and the person sees it by a
role (admin, supervisor). Own chats, and unassigned chats of an operator's channels, cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.models import Conversation
from channels_setup import permissions
from config.audit import record

CONVERSATION = "bridge.conversation"
READING_ROLES = (permissions.VIEW_ALL_CHATS, permissions.ASSIGN_ANY_CHAT)  # admins and supervisors


def is_chat_of_others(user: Any, assignee_id: int | None) -> bool:
    if assignee_id is None:
        return any(user.has_perm(permission) for permission in READING_ROLES)
    return bool(assignee_id != user.pk)


def record_chat_look(user: Any, conversation: Conversation) -> None:
    if is_chat_of_others(user, conversation.assignee_id):
        record.record_looks(CONVERSATION, [conversation.pk])


def record_chat_looks(user: Any, chats: Iterable[tuple[int, int | None]]) -> None:
    """Record looks at the chats of a response of the API, given as (chat, assignee)."""
    others = {pk for pk, assignee_id in chats if is_chat_of_others(user, assignee_id)}
    if others:
        record.record_looks(CONVERSATION, others)
