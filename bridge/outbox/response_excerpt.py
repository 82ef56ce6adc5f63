"""Response excerpt: the redacted beginning of a response, stored with its attempt."""

from __future__ import annotations

from collections.abc import Iterable

from channels_setup.codecs.redaction import redact_text
from channels_setup.providers.base import ApiResponse

MAX_CHARACTERS = 2_000


def excerpt_response(response: ApiResponse, secrets: Iterable[str]) -> str:
    """Return the redacted beginning of a response, without the database. Saving masks the keys of other channels."""
    text = response.body[: MAX_CHARACTERS * 4].decode("utf-8", "replace").replace("\0", "\ufffd")
    return redact_text(text, [secret for secret in secrets if secret])[:MAX_CHARACTERS]
