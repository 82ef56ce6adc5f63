"""``{{…}}`` in a template's texts, and the keys under which the values for them travel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

HOLE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


class Place(StrEnum):
    """The part of the message that holds a variable."""

    HEADER = "header"
    BODY = "body"
    BUTTON = "button"
    OFFER = "offer"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of a variable in a text."""

    name: str


def split(text: str) -> tuple[str | Hole, ...]:
    """Fixed parts and holes in turn, beginning and ending with a fixed part (which may be empty)."""
    return tuple(Hole(piece) if index % 2 else piece for index, piece in enumerate(HOLE.split(text)))


def names_in(text: str) -> list[str]:
    """The variables' names in order of appearance, each once."""
    return list(dict.fromkeys(HOLE.findall(text)))


def in_order(names: list[str]) -> list[str]:
    """Numbered ones by number: ``{{2}} {{1}}`` has the values of 1 and 2, in this order."""
    return sorted(names, key=int) if all(is_number(name) for name in names) else names


def is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 6


def key_of(name: str, place: Place) -> str:
    return f"header.{name}" if place is Place.HEADER and is_number(name) else name


def braced(name: str) -> str:
    return "{{" + name + "}}"
