"""Numbers out of addresses and forms, which may hold anything."""

from __future__ import annotations

from channels_setup.codecs.values import whole_number


def as_number(text: str | None) -> int | None:
    return whole_number(text)
