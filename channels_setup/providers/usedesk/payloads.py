"""Payloads for Usedesk's public API, by its documentation: a client's card, a client's message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.values import FileInfo

Json = dict[str, Any]


def extract_digits(phone: str) -> str:
    return "".join(character for character in phone if character.isascii() and character.isdigit())


def build_client_card(contact: ContactInfo, *, client_id: int | None = None) -> Json:
    """Build the card that operators see. Usedesk takes phones of 10 to 15 digits only; others are left out."""
    digits = extract_digits(contact.phone)
    identity = contact.external_id or digits
    return {
        "client_id": client_id,
        "name": contact.name or (f"+{digits}" if digits else identity),
        "phone": digits if 10 <= len(digits) <= 15 else "",
        "emails": [contact.email] if contact.email else "",
        "messengers": [{"type": "whatsapp", "identity": identity}] if identity and not client_id else "",
    }


def build_message_body(
    contact: ContactInfo, text: str, *, client_id: int | None, key: str, at: datetime | None
) -> Json:
    """Build a client's message.

    ``id``, ``timestamp`` and ``okno_client_id`` are extensions for another Okno; Usedesk ignores them.
    """
    sender = {
        "client_id": client_id,
        "okno_client_id": client_id,
        "name": contact.name,
        "email": contact.email,
        "phone": contact.phone,
    }
    fields = {
        "text": text,
        "from": {name: value for name, value in sender.items() if value},
        "id": key,
        "timestamp": int(at.timestamp()) if at else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def append_links(text: str, files: Sequence[FileInfo]) -> str:
    lines = [text] if text else []
    lines += [f"{file.name}: {file.url}" if file.name else file.url for file in files if file.url]
    return "\n".join(lines) or "…"
