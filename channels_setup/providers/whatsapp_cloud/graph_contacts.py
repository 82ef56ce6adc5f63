"""Contacts in the Graph API's webhooks, identified by a WhatsApp ID (phone), a business-scoped user ID, or both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.values import as_text
from channels_setup.codecs.visible_names import visible_name

USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}", re.ASCII)
WA_ID = re.compile(r"[0-9]{5,20}", re.ASCII)
# ``one_line`` replaces line breaks and tabs by a space, and removes other control and text direction characters.
LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029][\s\x1c-\x1f\x85]*+")
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def read_wa_id(value: Any) -> str:
    """Return a WhatsApp ID without its plus; "" if the value is none (some senders put the user ID here)."""
    text = as_text(value).strip().removeprefix("+")
    return text if WA_ID.fullmatch(text) else ""


def read_user_id(value: Any) -> str:
    text = as_text(value).strip()
    return text if USER_ID.fullmatch(text) else ""


def one_line(value: Any, limit: int) -> str:
    """Return the text as one line, with spaces for line breaks."""
    pieces = LINE_BREAKS.split(INVISIBLE.sub("", as_text(value)))
    before = [piece.rstrip(" \xa0") for piece in pieces[:-1]]
    return " ".join([*before, pieces[-1]]).strip()[:limit]


def several_lines(value: Any, limit: int) -> str:
    """Return the text with uniform line breaks."""
    text = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", INVISIBLE.sub("", as_text(value)))
    return text.strip()[:limit]


@dataclass(frozen=True)
class ContactCards:
    """Contact objects of a webhook, found by ID. Their order says nothing about the messages."""

    by_wa_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_user_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: dict[str, Any] = field(default_factory=dict)  # the contact, if the webhook has exactly one

    @classmethod
    def read(cls, contacts: Any) -> Self:
        cards = [card for card in contacts if isinstance(card, dict)] if isinstance(contacts, list) else []
        return cls(
            by_wa_id={read_wa_id(card.get("wa_id")): card for card in cards if read_wa_id(card.get("wa_id"))},
            by_user_id={read_user_id(card.get("user_id")): card for card in cards if read_user_id(card.get("user_id"))},
            only=cards[0] if len(cards) == 1 else {},
        )

    def find_contact(self, phones: Iterable[Any], user_ids: Iterable[Any]) -> ContactInfo:
        """Return the contact with these IDs and the data of the card with the same ID."""
        ids = [*phones, *user_ids]
        phone_id = next(filter(None, map(read_wa_id, ids)), "")
        business_id = next(filter(None, map(read_user_id, ids)), "")
        card = self.by_wa_id.get(phone_id) or self.by_user_id.get(business_id) or {}
        if not any(ids):
            card = self.only  # the item has no ID, but only one contact is possible
        phone_id = phone_id or read_wa_id(card.get("wa_id"))
        business_id = business_id or read_user_id(card.get("user_id"))
        profile = card.get("profile")
        profile = profile if isinstance(profile, dict) else {}
        return ContactInfo(
            external_id=phone_id,
            user_id=business_id,
            phone=f"+{phone_id}" if phone_id else "",
            name=visible_name(as_text(profile.get("name"))) or visible_name(as_text(profile.get("username"))),
            username=visible_name(as_text(profile.get("username")), 100),
        )
