"""Numbers out of addresses and forms, which may hold anything."""

from __future__ import annotations


def as_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
