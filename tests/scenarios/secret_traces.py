"""Secrets of channels: their spellings, and requests that carry them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

from django.test import Client

from channels_setup.models import ApiChannel

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "upper case": lambda text: text.upper() if text.isalnum() and text.islower() else text,
    "percent": lambda text: quote(text, safe=""),
    "percent of every character": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent in upper case": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "form": quote_plus,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON escapes": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "JSON escapes in upper case": lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "escapes in JSON in JSON": lambda text: json.dumps("".join(f"\\u{ord(each):04x}" for each in text))[1:-1],
    "HTML": html.escape,
    "HTML numbers": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML hex": lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    "hex": lambda text: text.encode().hex(),
    "hex in upper case": lambda text: text.encode().hex().upper(),
    "base64 of user:pass": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 of u:pass": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "base64 of us:pass": lambda text: base64.urlsafe_b64encode(f"us:{text}".encode()).decode(),
    "base64, percent": lambda text: quote(base64.b64encode(f"user:{text}".encode()).decode(), safe=""),
}


def current_key(channel: ApiChannel) -> str:
    secret = channel.current_secret()
    assert secret is not None
    return secret.reveal()


def post_raw(path: str, body: Any, content_type: str = "application/json", query: str = "", **headers: str) -> int:
    """Post a body, encoded as JSON unless it is bytes, and return the status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Client().generic("POST", path + query, data, content_type=content_type, headers=headers)
    return int(response.status_code)
