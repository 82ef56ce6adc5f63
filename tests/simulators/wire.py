"""Bytes and signatures as Meta writes them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

# Beside \\uXXXX for all that is not ASCII, these are escaped too; it is these bytes that are signed.
ESCAPED = {"/": "\\/", "<": "\\u003C", "%": "\\u0025", "@": "\\u0040"}


def as_sent(body: Any) -> bytes:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True)
    for character, escaped in ESCAPED.items():
        text = text.replace(character, escaped)
    return text.encode("ascii")


def signature(body: bytes, secret: str) -> str:
    """The value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def old_signature(body: bytes, secret: str) -> str:
    """The value of X-Hub-Signature: SHA-1, of old, and proves nothing."""
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
