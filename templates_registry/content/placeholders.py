"""Placeholders ``{{…}}`` in a template's texts, and the keys of their values."""

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
    """A variable's position in a text."""

    name: str


def split_placeholders(text: str) -> tuple[str | Placeholder, ...]:
    """Split a text into alternating fixed parts and placeholders. The first and last part are fixed, maybe empty."""
    return tuple(Placeholder(piece) if index % 2 else piece for index, piece in enumerate(PLACEHOLDER.split(text)))


def find_names(text: str) -> list[str]:
    """Return the variables' names in order of appearance, each once."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def sort_names(names: list[str]) -> list[str]:
    """Sort numbered names by number, because ``{{2}} {{1}}`` takes values in the order 1, 2. Names keep their order."""
    return sorted(names, key=int) if all(is_numbered(name) for name in names) else names


def is_numbered(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 6


def variable_key(name: str, place: VariablePlace) -> str:
    """Return the key of a placeholder: ``header.1`` for a number in the header, else the name."""
    return f"header.{name}" if place is VariablePlace.HEADER and is_numbered(name) else name


def add_braces(name: str) -> str:
    return "{{" + name + "}}"
