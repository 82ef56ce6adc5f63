"""What is kept of an answer with the attempt it was given to: its beginning, without our secrets."""

from __future__ import annotations

from collections.abc import Iterable

from channels_setup.providers.base import HttpAnswer

LONGEST = 2_000  # characters


def kept_answer(answer: HttpAnswer, secrets: Iterable[str]) -> str:
    text = answer.body[: LONGEST * 4].decode("utf-8", "replace").replace("\0", "\ufffd")
    for secret in filter(None, secrets):
        text = text.replace(secret, "•" * 8)
    return text[:LONGEST]
