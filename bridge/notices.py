"""Notices: the portal's own messages to operators."""

from __future__ import annotations

from .fanout import operator_notes
from .models import Conversation, Message


def create_notice(conversation: Conversation, reason: str, **details: object) -> Message:
    """Write a notice to the operators into the chat that it concerns."""
    made = Message.objects.create(
        conversation=conversation,
        api_channel_id=conversation.api_channel_id,
        direction=Message.Direction.NOTICE,
        kind=Message.Kind.NOTICE,
        status=Message.Status.RECEIVED,
        reason=reason,
        details=details,
    )
    operator_notes.forward_notice(made)
    return made
