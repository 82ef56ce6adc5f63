"""Quick answers: texts that are said often, with variables that the chat fills in.

A variable stands in single braces, under its English or its Russian name: «Здравствуйте, {имя}!».
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from bridge.conversations import tickets
from bridge.models import CannedResponse, Conversation

MAX_LISTED = 40  # in one list

# What a variable may be called -> what it means.
VARIABLE_KEYS: Mapping[str, str] = {
    "first name": "first_name",
    "имя": "first_name",
    "client": "client",
    "client name": "client",
    "клиент": "client",
    "имя клиента": "client",
    "operator": "operator",
    "оператор": "operator",
    "request": "request",
    "запрос": "request",
    "номер запроса": "request",
    "channel": "channel",
    "канал": "channel",
}
VARIABLE = re.compile(r"(?<!\{)\{([^{}\n]{1,40})\}(?!\})")
# A value that is not known goes with its comma: «Здравствуйте, {имя}!» is then «Здравствуйте!», and
# «{имя}, добрый день!» is «Добрый день!». A text from the database holds no NUL.
MISSING = "\0"
MISSING_FIRST = re.compile(rf"(^|[.!?…\n][ \u00a0]*){MISSING}[,:;]?[ \u00a0]*(\w?)")
MISSING_LATER = re.compile(rf",?[ \u00a0]?{MISSING}")


def unknown_variables(text: str) -> list[str]:
    return [name for name in VARIABLE.findall(text) if _variable_key(name) is None]


def describe_problem(text: str) -> str:
    """What is wrong with a quick answer's text, in a sentence; empty where nothing is."""
    unknown = unknown_variables(text)
    if not unknown:
        return ""
    return _("There is no variable {%(unknown)s}. There are: %(known)s.") % {
        "unknown": unknown[0],
        "known": ", ".join(f"{{{name}}}" for name in VARIABLE_KEYS),
    }


def search_responses(conversation: Conversation, query: str = "") -> QuerySet[CannedResponse]:
    """Those of this chat's channel and those of all; every word stands in the name or in the text."""
    rows = CannedResponse.objects.filter(
        Q(chat_channels=conversation.chat_channel_id) | Q(chat_channels=None), is_used=True
    )
    for word in query.split():
        rows = rows.filter(Q(name__icontains=word) | Q(text__icontains=word))
    return rows.distinct().order_by("name", "pk")


def variable_values(conversation: Conversation, *, user: Any) -> dict[str, str]:
    """What the variables stand for in this chat."""
    name = " ".join(conversation.contact.shown_name.split())
    ticket = tickets.get_current_ticket(conversation)
    return {
        "first_name": name.split(" ")[0],
        "client": name,
        "operator": user.get_full_name() or user.get_username(),
        "request": f"№ {ticket.pk}" if ticket else "",
        "channel": conversation.chat_channel.name,
    }


def fill_variables(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in; a value is never looked at for variables again."""

    def value(match: re.Match[str]) -> str:
        meaning = _variable_key(match[1])
        return match[0] if meaning is None else values.get(meaning) or MISSING

    text = MISSING_FIRST.sub(lambda match: match[1] + match[2].upper(), VARIABLE.sub(value, text))
    return MISSING_LATER.sub("", text)


def missing_variables(text: str, values: Mapping[str, str]) -> list[str]:
    """The variables of this text that the chat has no value for, as they are written."""
    names = dict.fromkeys(VARIABLE.findall(text))
    return [name for name in names if (meaning := _variable_key(name)) is not None and not values.get(meaning)]


def _variable_key(name: str) -> str | None:
    return VARIABLE_KEYS.get(" ".join(name.casefold().split()))
