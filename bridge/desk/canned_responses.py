"""Canned responses (UI: quick replies): frequent texts with variables that are filled in from the chat.

A variable is written in single braces, in English or Russian: «Здравствуйте, {имя}!».
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from bridge.models import CannedResponse, Conversation

MAX_LISTED = 40  # in one list


def search_responses(conversation: Conversation, query: str = "", *, user: Any) -> QuerySet[CannedResponse]:
    """Search the shared responses of the chat's channel and of all channels, and the user's own.

    Every word must match the name, the folder or the text.
    """
    rows = CannedResponse.objects.filter(
        Q(chat_channels=conversation.chat_channel_id) | Q(chat_channels=None),
        Q(owner=None) | Q(owner=user.pk),
        is_used=True,
    )
    for word in query.split():
        rows = rows.filter(Q(name__icontains=word) | Q(text__icontains=word) | Q(folder__icontains=word))
    return rows.distinct().order_by("folder", "name", "pk")
