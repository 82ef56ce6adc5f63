"""Parsing of numbers from URLs and forms."""

from __future__ import annotations

from channels_setup.codecs.values import parse_whole_number


def parse_int(text: str | None) -> int | None:
    """Return the number, or None if the text is not a whole number."""
    return parse_whole_number(text)
