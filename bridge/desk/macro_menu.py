"""Macros that the operator may run in a chat, with what each would do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from bridge import canned_variables
from bridge.automation import macros
from bridge.models import Conversation, Macro


@dataclass(frozen=True, kw_only=True)
class MacroChoice:
    macro: Macro
    url: str
    key: str  # of one run
    actions: list[str]


def list_choices(conversation: Conversation, *, user: Any, query: str = "") -> list[MacroChoice]:
    """List the macros of a chat, with one query if there are none."""
    if query:
        found = list(macros.list_macros(conversation, user=user, query=query)[: macros.MAX_LISTED])
    else:
        found = macros.list_all_macros(conversation, user=user)
    if not found:
        return []
    values = canned_variables.variable_values(conversation, user=user)
    return [
        MacroChoice(
            macro=macro,
            url=reverse("chat-macro", args=[conversation.pk, macro.pk]),
            key=secrets.token_urlsafe(12),
            actions=macros.describe_actions(macro, values),
        )
        for macro in found
    ]
