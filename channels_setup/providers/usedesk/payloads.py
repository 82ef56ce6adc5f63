"""What a helpdesk's public API is told, as its documentation asks for it: a client's card, a client's message."""

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
    """The card operators see, new or with what is known by now. Phones are 10 to 15 digits there, or not given."""
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
    """``id`` and ``timestamp`` are extensions that another portal knows, and Usedesk passes over."""
    # Another Okno takes its own number only where it is named as such; others ignore the field.
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
