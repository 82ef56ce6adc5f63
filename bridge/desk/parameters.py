"""Numbers out of addresses and forms, which may hold anything."""

from __future__ import annotations

from channels_setup.codecs.values import parse_whole_number


def parse_int(text: str | None) -> int | None:
    return parse_whole_number(text)
