"""Who is meant in a webhook of the Graph API's shape: a phone's id, an id with this business alone, or both."""

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
# Line ends and tabs become a space in one line; other controls, and marks that set the direction of what follows, go.
LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029][\s\x1c-\x1f\x85]*+")
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def read_wa_id(value: Any) -> str:
    """A phone's id, without the plus; empty where it is none (some senders put the other id here)."""
    text = as_text(value).strip().removeprefix("+")
    return text if WA_ID.fullmatch(text) else ""


def read_user_id(value: Any) -> str:
    text = as_text(value).strip()
    return text if USER_ID.fullmatch(text) else ""


def one_line(value: Any, limit: int) -> str:
    """The text in one line: where a line ended, a space stands."""
    pieces = LINE_BREAKS.split(INVISIBLE.sub("", as_text(value)))
    before = [piece.rstrip(" \xa0") for piece in pieces[:-1]]
    return " ".join([*before, pieces[-1]]).strip()[:limit]


def several_lines(value: Any, limit: int) -> str:
    """The text with its line ends, all of one kind."""
    text = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", INVISIBLE.sub("", as_text(value)))
    return text.strip()[:limit]


@dataclass(frozen=True)
class ContactCards:
    """The contacts that stand beside the messages: found by id, never by their place."""

    by_wa_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_user_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: dict[str, Any] = field(default_factory=dict)  # where there is one alone

    @classmethod
    def read(cls, contacts: Any) -> Self:
        cards = [card for card in contacts if isinstance(card, dict)] if isinstance(contacts, list) else []
        return cls(
            by_wa_id={read_wa_id(card.get("wa_id")): card for card in cards if read_wa_id(card.get("wa_id"))},
            by_user_id={read_user_id(card.get("user_id")): card for card in cards if read_user_id(card.get("user_id"))},
            only=cards[0] if len(cards) == 1 else {},
        )

    def person(self, phones: Iterable[Any], user_ids: Iterable[Any]) -> ContactInfo:
        """The one with these ids: what is said of them here, and on the card with the same id."""
        told = [*phones, *user_ids]
        phone_id = next(filter(None, map(read_wa_id, told)), "")
        business_id = next(filter(None, map(read_user_id, told)), "")
        card = self.by_wa_id.get(phone_id) or self.by_user_id.get(business_id) or {}
        if not any(told):
            card = self.only  # nobody is named, and there is one who could be meant
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
