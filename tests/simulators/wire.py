"""JSON bytes and signatures of webhooks, identical to Meta's."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

# Meta escapes these characters, too, besides everything that is not ASCII, and signs the escaped bytes.
ESCAPED = {"/": "\\/", "<": "\\u003C", "%": "\\u0025", "@": "\\u0040"}


def as_sent(body: Any) -> bytes:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True)
    for character, escaped in ESCAPED.items():
        text = text.replace(character, escaped)
    return text.encode("ascii")


def signature(body: bytes, secret: str) -> str:
    """Return the value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def old_signature(body: bytes, secret: str) -> str:
    """Return the value of the outdated X-Hub-Signature (SHA-1), which the portal must not accept."""
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
