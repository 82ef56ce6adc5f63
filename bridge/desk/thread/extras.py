"""What a message is besides its text: a quote, reactions, a place, cards, an order, that it was edited or taken back.

``Message.shown`` comes from outside: every value is taken as text, and an address is a link only if it is a web one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from bridge.desk import presentation
from bridge.desk.client import merges
from bridge.models import Message
from channels_setup.codecs.message_extras import describe_order_lines
from channels_setup.codecs.values import parse_iso_time

MOST = 100  # cards, lines or fields of one message
QUOTED = 120  # characters of a quoted text


@dataclass(frozen=True, kw_only=True)
class Quoted:
    pk: int
    who: str  # empty: the client
    is_ours: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Card:
    name: str
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Ready to be shown; every part may be empty."""

    tags: Sequence[str] = ()
    quoted: Quoted | None = None
    place: Sequence[str] = ()
    map: str = ""
    cards: Sequence[Card] = ()
    pairs: Sequence[tuple[str, str]] = ()
    advert: str = ""
    advert_title: str = ""
    advert_body: str = ""
    former: Sequence[str] = ()
    is_revoked: bool = False
    says_it_all: bool = False  # the parts above say what the text says in words
    reactions: Sequence[tuple[str, bool]] = ()  # emoji, whether it is ours

    @property
    def has_parts(self) -> bool:
        """Whether there is something besides text, tags and a quote."""
        return bool(self.place or self.map or self.cards or self.pairs or self.advert or self.advert_title)


NOTHING = Extras()


def of(message: Message, *, now: datetime) -> Extras:
    shown = message.shown if isinstance(message.shown, dict) else {}
    if not shown and not message.reactions and not message.quoted_id and not message.merged_contact_id:
        return NOTHING
    what = text_of(shown.get("what"))
    place = [text_of(shown.get(key)) for key in ("name", "address")] if what == "location" else []
    cards = [_card(one) for one in _rows(shown.get("cards"))] if what == "contacts" else []
    pairs = list(_pairs(what, shown))
    return Extras(
        tags=[*_number(message), *_tags(what, shown, now=now)],
        quoted=quote(message.quoted) if message.quoted_id else None,
        place=[line for line in place if line],
        map=web_address(shown.get("map")) if what == "location" else "",
        cards=cards,
        pairs=pairs,
        advert=web_address(_inner(shown, "ad").get("url")),
        advert_title=text_of(_inner(shown, "ad").get("headline")) or text_of(_inner(shown, "ad").get("body")),
        advert_body=text_of(_inner(shown, "ad").get("body")) if _inner(shown, "ad").get("headline") else "",
        former=[text_of(one) for one in shown.get("former") or [] if text_of(one)],
        is_revoked="revoked_at" in shown,
        says_it_all=bool(cards or (what == "location" and (any(place) or shown.get("map")))),
        reactions=[
            (text_of(one.get("emoji")), one.get("by") == "us")
            for one in _rows(message.reactions)
            if text_of(one.get("emoji"))
        ],
    )


def _number(message: Message) -> Iterable[str]:
    """The number of a merged client that it came from or went to; the chat's own number needs no words."""
    if message.merged_contact is not None:
        number = merges.number_of(message.merged_contact)
        is_ours = message.direction == Message.Direction.OUTBOUND
        yield (_("To %(number)s") if is_ours else _("From %(number)s")) % {"number": number}


def _tags(what: str, shown: Mapping[str, Any], *, now: datetime) -> Iterable[str]:
    """The small words over a message."""
    if shown.get("forwarded"):
        yield (
            _("Forwarded many times")
            if _inner(shown, "forwarded").get("often") or shown.get("often")
            else _("Forwarded")
        )
    if shown.get("from_phone"):
        yield _("Written on the phone, not here")
    if what in ("button", "list"):
        yield _("Chose from the buttons")
    if what == "flow":
        yield _("Filled in a form")
    if what == "voice":
        yield _("Voice message")
    if shown.get("product"):
        yield _("Asks about a product")
    if what == "reaction":
        yield _("Reaction to a message that is not here")
    edited, revoked = _moment(shown.get("edited_at")), _moment(shown.get("revoked_at"))
    is_after = bool(shown.get("after_answer"))
    if edited:
        words = _("Edited after your answer, %(at)s") if is_after and not revoked else _("Edited, %(at)s")
        yield words % {"at": presentation.moment_words(edited, now=now)}
    if revoked:
        words = _("Deleted after your answer, %(at)s") if is_after else _("Deleted, %(at)s")
        yield words % {"at": presentation.moment_words(revoked, now=now)}


def _pairs(what: str, shown: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """A table of two columns: an order's lines, a form's answers."""
    if what == "order":
        yield from describe_order_lines(shown)
    elif what == "flow":
        fields = shown.get("fields")
        for field in fields[:MOST] if isinstance(fields, list) else []:
            if isinstance(field, list) and len(field) == 2:
                yield text_of(field[0]), text_of(field[1])


def _card(card: Mapping[str, Any]) -> Card:
    lines = [text_of(card.get("org"))]
    for key in ("phones", "emails", "addresses", "urls"):
        found = card.get(key)
        lines += [text_of(one) for one in found[:MOST]] if isinstance(found, list) else []
    birthday = text_of(card.get("birthday"))
    lines.append(_("Birthday: %(day)s") % {"day": _day_words(birthday)} if birthday else "")
    return Card(name=text_of(card.get("name")), lines=[line for line in lines if line])


def _day_words(text: str) -> str:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    return date_format(day, "DATE_FORMAT") if day else text


def quote(message: Message | None) -> Quoted | None:
    """A message as it is shown above one that answers it."""
    if message is None:
        return None
    words = " ".join(message.localized_text.split()) or _("file")
    is_ours = message.direction == Message.Direction.OUTBOUND
    return Quoted(
        pk=message.pk,
        who=presentation.person_name(message.author) if is_ours else "",
        is_ours=is_ours,
        words=words if len(words) <= QUOTED else words[: QUOTED - 1] + "…",
    )


def text_of(value: Any) -> str:
    """A scalar from outside as text; nothing else is shown."""
    return str(value)[:1000] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def web_address(value: Any) -> str:
    address = text_of(value)
    return address if address.lower().startswith(("https://", "http://")) else ""


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value[:MOST] if isinstance(one, dict)] if isinstance(value, list) else []


def _inner(shown: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = shown.get(key)
    return value if isinstance(value, dict) else {}


def _moment(value: Any) -> datetime | None:
    return parse_iso_time(text_of(value))
