"""Parts of a message besides its text: quote, reactions, location, contact cards, order, edits, deletion.

``Message.shown`` is external data: every value is treated as text, and only http(s) URLs become links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bridge import outcomes, phone_visibility
from bridge.conversations import reactions
from bridge.desk import presentation
from bridge.desk.client import merges
from bridge.models import Message
from channels_setup.codecs.message_extras import describe_order_lines
from channels_setup.codecs.values import parse_iso_time

MAX_PARTS = 100  # cards, lines or fields of one message
MAX_QUOTE_LENGTH = 120  # characters of a quoted text
# Failures of messages that say what became of the text.
REACTION_REASONS = {
    "window_closed_before_sending": "window_closed_for_reactions",
    "contact_moved_before_sending": "contact_moved",
}
REACTION_STATES = {reactions.PENDING: gettext_lazy("being sent"), reactions.UNKNOWN: gettext_lazy("may have been sent")}


@dataclass(frozen=True, kw_only=True)
class QuotedMessage:
    pk: int
    who: str  # empty: the client
    is_ours: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class ContactCard:
    name: str
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ReactionView:
    """A reaction to a message. ``who``: the operator who reacted in the desk; empty for others."""

    emoji: str
    is_ours: bool
    who: str = ""
    state: str = ""  # CSS class of a reaction that is not sent yet
    words: str = ""  # says the state

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.who, self.words)))


@dataclass(frozen=True, kw_only=True)
class ReactionProblem:
    """A reaction that was not sent. ``shown``: our reaction that the client sees instead."""

    emoji: str
    shown: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class MessageExtras:
    """Parts ready for display; each may be empty."""

    tags: Sequence[str] = ()
    quoted: QuotedMessage | None = None
    place: Sequence[str] = ()
    map: str = ""
    cards: Sequence[ContactCard] = ()
    pairs: Sequence[tuple[str, str]] = ()
    advert: str = ""
    advert_title: str = ""
    advert_body: str = ""
    previous_versions: Sequence[str] = ()
    is_revoked: bool = False
    replaces_text: bool = False  # the parts repeat the text, so the text is hidden
    reactions: Sequence[ReactionView] = ()
    reaction_problem: ReactionProblem | None = None

    @property
    def has_parts(self) -> bool:
        """Return whether there are parts besides text, tags and a quote."""
        return bool(self.place or self.map or self.cards or self.pairs or self.advert or self.advert_title)


NO_EXTRAS = MessageExtras()


def build_extras(message: Message, *, now: datetime, reactor: str = "") -> MessageExtras:
    """Build the parts of a message. ``reactor``: name of the operator who chose our reaction."""
    shown = message.shown if isinstance(message.shown, dict) else {}
    if not shown and not message.reactions and not message.quoted_id and not message.merged_contact_id:
        return NO_EXTRAS
    kind = scalar_text(shown.get("what"))
    place = [scalar_text(shown.get(key)) for key in ("name", "address")] if kind == "location" else []
    cards = [_build_card(one) for one in _dict_rows(shown.get("cards"))] if kind == "contacts" else []
    pairs = list(_table_rows(kind, shown))
    return MessageExtras(
        tags=[*_number_tags(message), *_message_tags(kind, shown, now=now)],
        quoted=build_quote(message.quoted) if message.quoted_id else None,
        place=[line for line in place if line],
        map=web_url(shown.get("map")) if kind == "location" else "",
        cards=cards,
        pairs=pairs,
        advert=web_url(_inner_dict(shown, "ad").get("url")),
        advert_title=scalar_text(_inner_dict(shown, "ad").get("headline"))
        or scalar_text(_inner_dict(shown, "ad").get("body")),
        advert_body=scalar_text(_inner_dict(shown, "ad").get("body"))
        if _inner_dict(shown, "ad").get("headline")
        else "",
        previous_versions=[scalar_text(one) for one in shown.get("former") or [] if scalar_text(one)],
        is_revoked="revoked_at" in shown,
        replaces_text=bool(cards or (kind == "location" and (any(place) or shown.get("map")))),
        reactions=list(_build_reactions(message, reactor)),
        reaction_problem=_build_reaction_problem(message),
    )


def _build_reactions(message: Message, reactor: str) -> Iterable[ReactionView]:
    own = reactions.OurReaction.of_message(message)
    for row in _dict_rows(message.reactions):
        emoji, is_ours = scalar_text(row.get("emoji")), row.get("by") == "us"
        if not emoji:
            continue
        if not is_ours or own is None or own.emoji != emoji:
            yield ReactionView(emoji=emoji, is_ours=is_ours)
            continue
        state = own.state if own.state in REACTION_STATES else ""
        words = str(REACTION_STATES[state]) if state else ""
        yield ReactionView(emoji=emoji, is_ours=True, who=reactor, state=state, words=words)


def _build_reaction_problem(message: Message) -> ReactionProblem | None:
    own = reactions.OurReaction.of_message(message)
    if own is None or own.state != reactions.FAILED:
        return None
    sentence = outcomes.render_sentence(REACTION_REASONS.get(own.reason, own.reason), own.error)
    why = phone_visibility.visible_text(sentence, message.api_channel_id)
    words = _("Reaction %(emoji)s not sent. %(why)s") if own.emoji else _("Reaction not removed. %(why)s")
    shown = reactions.get_our_emoji(message)
    return ReactionProblem(emoji=own.emoji, shown=shown, sentence=words % {"emoji": own.emoji, "why": why})


def _number_tags(message: Message) -> Iterable[str]:
    """Yield the number of a merged client that the message came from or went to."""
    if message.merged_contact is not None:
        number = merges.contact_number(message.merged_contact)
        is_ours = message.direction == Message.Direction.OUTBOUND
        yield (_("To %(number)s") if is_ours else _("From %(number)s")) % {"number": number}


def _message_tags(kind: str, shown: Mapping[str, Any], *, now: datetime) -> Iterable[str]:
    """Yield the tags above a message."""
    if shown.get("forwarded"):
        yield (
            _("Forwarded many times")
            if _inner_dict(shown, "forwarded").get("often") or shown.get("often")
            else _("Forwarded")
        )
    if shown.get("from_phone"):
        yield _("Sent from the phone, not from the desk")
    if kind in ("button", "list"):
        yield _("Chose a button")
    if kind == "flow":
        yield _("Filled in a form")
    if kind == "voice":
        yield _("Voice message")
    if shown.get("product"):
        yield _("Asks about a product")
    if kind == "reaction":
        yield _("Reaction to a message not found here")
    edited, revoked = _parse_moment(shown.get("edited_at")), _parse_moment(shown.get("revoked_at"))
    is_after = bool(shown.get("after_answer"))
    if edited:
        words = _("Edited after your reply, %(at)s") if is_after and not revoked else _("Edited, %(at)s")
        yield words % {"at": presentation.format_moment(edited, now=now)}
    if revoked:
        words = _("Deleted after your reply, %(at)s") if is_after else _("Deleted, %(at)s")
        yield words % {"at": presentation.format_moment(revoked, now=now)}


def _table_rows(kind: str, shown: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the rows of a two-column table: order lines or form answers."""
    if kind == "order":
        yield from describe_order_lines(shown)
    elif kind == "flow":
        fields = shown.get("fields")
        for field in fields[:MAX_PARTS] if isinstance(fields, list) else []:
            if isinstance(field, list) and len(field) == 2:
                yield scalar_text(field[0]), scalar_text(field[1])


def _build_card(card: Mapping[str, Any]) -> ContactCard:
    lines = [scalar_text(card.get("org"))]
    for key in ("phones", "emails", "addresses", "urls"):
        found = card.get(key)
        lines += [scalar_text(one) for one in found[:MAX_PARTS]] if isinstance(found, list) else []
    birthday = scalar_text(card.get("birthday"))
    lines.append(_("Birthday: %(day)s") % {"day": _format_birthday(birthday)} if birthday else "")
    return ContactCard(name=scalar_text(card.get("name")), lines=[line for line in lines if line])


def _format_birthday(text: str) -> str:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    return date_format(day, "DATE_FORMAT") if day else text


def build_quote(message: Message | None) -> QuotedMessage | None:
    """Build the quote of a message, shown above its reply."""
    if message is None:
        return None
    words = " ".join(message.localized_text.split()) or (_("deleted message") if message.expired_at else _("file"))
    is_ours = message.direction == Message.Direction.OUTBOUND
    return QuotedMessage(
        pk=message.pk,
        who=presentation.person_name(message.author) if is_ours else "",
        is_ours=is_ours,
        words=words if len(words) <= MAX_QUOTE_LENGTH else words[: MAX_QUOTE_LENGTH - 1] + "…",
    )


def scalar_text(value: Any) -> str:
    """Return an external scalar as text, at most 1,000 characters; an empty string for other types."""
    return str(value)[:1000] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def web_url(value: Any) -> str:
    address = scalar_text(value)
    return address if address.lower().startswith(("https://", "http://")) else ""


def _dict_rows(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value[:MAX_PARTS] if isinstance(one, dict)] if isinstance(value, list) else []


def _inner_dict(shown: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = shown.get(key)
    return value if isinstance(value, dict) else {}


def _parse_moment(value: Any) -> datetime | None:
    return parse_iso_time(scalar_text(value))
