"""Variables in texts of operators and admins: {first name}, {channel} and so on, in English or Russian."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from django.utils.translation import gettext as _

from bridge import phone_visibility
from bridge.conversations import tickets
from bridge.models import Conversation

# Accepted variable name -> variable key.
VARIABLE_KEYS: Mapping[str, str] = {
    "first name": "first_name",
    "имя": "first_name",
    "client": "client",
    "client name": "client",
    "клиент": "client",
    "имя клиента": "client",
    "operator": "operator",
    "оператор": "operator",
    "signature": "signature",
    "подпись": "signature",
    "request": "request",
    "запрос": "request",
    "номер запроса": "request",
    "channel": "channel",
    "канал": "channel",
    "opens": "opens",
    "открытие": "opens",
}
OF_CLIENT = frozenset({"first_name", "client", "channel"})
OF_QUICK_REPLY = OF_CLIENT | {"operator", "signature", "request"}
OF_AWAY_TEXT = OF_CLIENT | {"opens"}
VARIABLE = re.compile(r"(?<!\{)\{([^{}\n]{1,40})\}(?!\})")
# A missing value is removed with its comma: «Здравствуйте, {имя}!» becomes «Здравствуйте!», and
# «{имя}, добрый день!» becomes «Добрый день!». NUL is a safe marker: PostgreSQL text cannot contain it.
MISSING = "\0"
MISSING_FIRST = re.compile(rf"(^|[.!?…\n][ \u00a0]*){MISSING}[,:;]?[ \u00a0]*(\w?)")
MISSING_LATER = re.compile(rf",?[ \u00a0]?{MISSING}")


def unknown_variables(text: str, allowed: Collection[str] = OF_QUICK_REPLY) -> list[str]:
    return [name for name in VARIABLE.findall(text) if _variable_key(name) not in allowed]


def describe_problem(text: str, allowed: Collection[str] = OF_QUICK_REPLY) -> str:
    """Return a sentence about the first unknown variable, or an empty string if the text is valid."""
    unknown = unknown_variables(text, allowed)
    if not unknown:
        return ""
    return _("Unknown variable {%(unknown)s}. Available: %(known)s.") % {
        "unknown": unknown[0],
        "known": ", ".join(f"{{{name}}}" for name, key in VARIABLE_KEYS.items() if key in allowed),
    }


def variable_values(conversation: Conversation, *, user: Any) -> dict[str, str]:
    """Return the variables' values in this chat, by variable key."""
    ticket = tickets.get_current_ticket(conversation)
    return {
        **client_values(conversation),
        "operator": user.get_full_name() or user.get_username(),
        "signature": user.signature.strip(),
        "request": f"№ {ticket.pk}" if ticket else "",
    }


def client_values(conversation: Conversation) -> dict[str, str]:
    """Return the values that need no operator, by variable key."""
    name = " ".join(conversation.contact.shown_name.split())
    if phone_visibility.visible_id(name, conversation.api_channel_id) != name:
        name = ""  # it holds a hidden phone
    return {"first_name": name.split(" ")[0], "client": name, "channel": conversation.chat_channel.name}


def fill_variables(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its variables filled in. Variables inside a value are not expanded."""

    def value(match: re.Match[str]) -> str:
        key = _variable_key(match[1])
        return match[0] if key is None else values.get(key) or MISSING

    text = MISSING_FIRST.sub(lambda match: match[1] + match[2].upper(), VARIABLE.sub(value, text))
    return MISSING_LATER.sub("", text)


def missing_variables(text: str, values: Mapping[str, str]) -> list[str]:
    """List the variables of the text without a value in this chat, as written."""
    names = dict.fromkeys(VARIABLE.findall(text))
    return [name for name in names if (key := _variable_key(name)) is not None and not values.get(key)]


def _variable_key(name: str) -> str | None:
    return VARIABLE_KEYS.get(" ".join(name.casefold().split()))
