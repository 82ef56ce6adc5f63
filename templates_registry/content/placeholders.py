"""``{{…}}`` in a template's texts, and the keys under which the values for them travel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


class VariablePlace(StrEnum):
    """The part of the message that holds a variable."""

    HEADER = "header"
    BODY = "body"
    BUTTON = "button"
    OFFER = "offer"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The place of a variable in a text."""

    name: str


def split_placeholders(text: str) -> tuple[str | Placeholder, ...]:
    """Fixed parts and holes in turn, beginning and ending with a fixed part (which may be empty)."""
    return tuple(Placeholder(piece) if index % 2 else piece for index, piece in enumerate(PLACEHOLDER.split(text)))


def find_names(text: str) -> list[str]:
    """The variables' names in order of appearance, each once."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def sort_names(names: list[str]) -> list[str]:
    """Numbered ones by number: ``{{2}} {{1}}`` has the values of 1 and 2, in this order."""
    return sorted(names, key=int) if all(is_numbered(name) for name in names) else names


def is_numbered(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 6


def variable_key(name: str, place: VariablePlace) -> str:
    return f"header.{name}" if place is VariablePlace.HEADER and is_numbered(name) else name


def add_braces(name: str) -> str:
    return "{{" + name + "}}"
