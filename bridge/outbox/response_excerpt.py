"""The part of a response that is kept with its attempt: the beginning, redacted."""

from __future__ import annotations

from collections.abc import Iterable

from channels_setup.codecs.redaction import redact_text
from channels_setup.providers.base import ApiResponse

MAX_CHARACTERS = 2_000  # characters


def excerpt_response(answer: ApiResponse, secrets: Iterable[str]) -> str:
    """Return the beginning of a response, redacted. Uses no database: other channels' keys are masked on saving."""
    text = answer.body[: MAX_CHARACTERS * 4].decode("utf-8", "replace").replace("\0", "\ufffd")
    return redact_text(text, [secret for secret in secrets if secret])[:MAX_CHARACTERS]
