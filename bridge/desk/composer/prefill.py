"""Prefilled values of template variables from the chat: the client's name, the request number."""

from __future__ import annotations

import re

from bridge import phone_visibility
from bridge.conversations import tickets
from bridge.models import Conversation
from templates_registry.content.components import TemplateDefinition, Variable

# Whole words or their beginnings in a variable's name, label or hint. They are matched, never shown.
NAME_WORDS = re.compile(
    r"\b(?:имя|имени|имен[аи]\b|фио|name|first_?name|client|customer|клиент|покупател|контакт)", re.IGNORECASE
)
NOT_A_PERSON_WORDS = re.compile(
    r"магазин|компани|товар|product|shop|company|store|order|заказ|менеджер|manager|operator|оператор"
    r"|номер|number|телефон|phone|город|city|адрес|address",
    re.IGNORECASE,
)
REQUEST_WORDS = re.compile(r"\b(?:запрос|обращени|тикет|ticket|request|case_?(?:id|number))", re.IGNORECASE)
# Without a label, an example that is a common first name marks a name variable.
EXAMPLE_NAMES = frozenset(
    "анна иван мария пётр петр ольга елена сергей алексей дмитрий наталья екатерина игорь "
    "anna john jane maria peter alex pablo kate mary ivan".split()
)


def prefill_values(conversation: Conversation, definition: TemplateDefinition) -> dict[str, str]:
    """Return values by variable key, only for variables whose meaning is clear."""
    ticket = tickets.get_current_ticket(conversation)
    found = {}
    for variable in definition.variables:
        if not variable.in_text:
            continue
        if is_person_name(variable):
            name = conversation.contact.shown_name
            if phone_visibility.visible_id(name, conversation.api_channel_id) == name:  # else it holds a hidden phone
                found[variable.key] = shorten_name(name, variable.example)
        elif ticket is not None and REQUEST_WORDS.search(_description(variable)):
            sign = "№ " if variable.example.startswith("№") else ""
            found[variable.key] = f"{sign}{ticket.pk}"
    return {key: value for key, value in found.items() if value}


def is_person_name(variable: Variable) -> bool:
    description = _description(variable)
    if description:
        return bool(NAME_WORDS.search(description)) and not NOT_A_PERSON_WORDS.search(description)
    words = variable.example.split()
    return bool(words) and words[0].strip(".,!").casefold() in EXAMPLE_NAMES


def shorten_name(name: str, example: str) -> str:
    """Return as many words of the name as the example has: «Анна» of «Анна Соколова» for the example «Мария»."""
    words = " ".join(name.split()).split(" ")
    count = len(example.split()) or len(words)
    return " ".join(words[:count])


def _description(variable: Variable) -> str:
    """Join the variable's name, label and hint. A numeric name is ignored."""
    name = "" if variable.name.isdigit() else variable.name
    return " ".join(filter(None, (name, variable.label, variable.hint)))
