"""Notices: the portal's own messages to operators."""

from __future__ import annotations

from .fanout import operator_notes
from .models import Conversation, Message


def create_notice(conversation: Conversation, reason: str, **details: object) -> Message:
    """Create a notice in a chat. ``reason`` is a code of ``outcomes``; ``details`` are the values of its sentence."""
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
