"""Slots of a template: the values that it needs or accepts, derived from its components.

The form, the preview, both APIs, matching, the page for external helpdesks and the provider's parameters all use
``list_slots``. ``sendability`` lists the parts that no slot can fill.

    header.media, header.filename           a picture, video or document; the displayed name of a document
    header.latitude … header.address        a place
    header.product, header.catalog          a product
    header.1, 1, first_name                 texts; in an authentication template the code
    button.0                                the end of a URL; a coupon code; the products of a list (sections); the
                                            product whose picture a catalog or a list shows
    offer.expires                           when a limited-time offer ends
    card.0.…                                the same for each card

A button's payload, a flow's token and its data have defaults: values are accepted, but no form asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from .placeholders import VariablePlace, find_names, sort_names, variable_key

if TYPE_CHECKING:
    from .components import Button, TemplateDefinition

TEXT, LOCATION, PRODUCT, DOCUMENT = "TEXT", "LOCATION", "PRODUCT", "DOCUMENT"
MEDIA = ("IMAGE", "VIDEO", DOCUMENT, "GIF")
HEADERS = (TEXT, *MEDIA, LOCATION, PRODUCT)
# Kinds of buttons that Okno can send; some of them need values.
BUTTONS = frozenset("QUICK_REPLY URL PHONE_NUMBER COPY_CODE OTP FLOW CATALOG MPM SPM VOICE_CALL".split())
# Components that need no values and that ``graph_format`` does not parse.
BARE_COMPONENTS = frozenset({"CALL_PERMISSION_REQUEST"})

HEADER_MEDIA, HEADER_FILENAME = "header.media", "header.filename"
HEADER_LOCATION = ("header.latitude", "header.longitude", "header.name", "header.address")
HEADER_PRODUCT, HEADER_CATALOG = "header.product", "header.catalog"
OFFER_EXPIRES = "offer.expires"
CODE = "code"  # key of an authentication code if the body has no variable


class ValueKind(StrEnum):
    """Kind of a value; ``value_checks`` has a check for each."""

    TEXT = "text"
    CODE = "code"
    MEDIA = "media"
    FILENAME = "filename"
    LATITUDE = "latitude"
    LONGITUDE = "longitude"
    PLACE = "place"
    LINK_END = "link_end"
    COUPON = "coupon"
    PRODUCT = "product"
    CATALOG = "catalog"
    SECTIONS = "sections"
    MOMENT = "moment"
    PAYLOAD = "payload"
    FLOW_TOKEN = "flow_token"
    FLOW_DATA = "flow_data"


class Slot(NamedTuple):
    """A value that a template needs or accepts."""

    key: str
    place: VariablePlace
    kind: ValueKind
    is_required: bool = True


def list_slots(template: TemplateDefinition) -> list[Slot]:
    """Return each slot once. Optional ones are last, so that a new one does not shift positions in lists of values."""
    found: dict[str, Slot] = {}
    for slot in _slots(template):
        found.setdefault(slot.key, slot)
    return sorted(found.values(), key=lambda slot: not slot.is_required)


def list_defaulted_slots(template: TemplateDefinition) -> list[Slot]:
    """Return the slots with defaults of their own, which no form asks for."""
    found = [slot for index, button in enumerate(template.buttons) for slot in _defaulted(index, button)]
    for number, card in enumerate(template.cards):
        found += [_move_to_card(number, slot) for slot in list_defaulted_slots(card)]
    return found


def _slots(template: TemplateDefinition) -> Iterator[Slot]:
    kind = template.header.kind if template.header else ""
    yield from _header(kind)
    for place, text in ((VariablePlace.HEADER, template.header_text), (VariablePlace.BODY, template.body)):
        for name in sort_names(find_names(text)):
            key = variable_key(name, place)
            yield Slot(key, place, ValueKind.CODE if key == template.code_key else ValueKind.TEXT)
    if template.code_key == CODE:
        yield Slot(CODE, VariablePlace.BODY, ValueKind.CODE)
    for index, button in enumerate(template.buttons):
        yield from _button(f"button.{index}", button)
    if template.offer and template.offer.has_expiration:
        yield Slot(OFFER_EXPIRES, VariablePlace.OFFER, ValueKind.MOMENT)
    for number, card in enumerate(template.cards):
        yield from (_move_to_card(number, slot) for slot in _slots(card))


def _header(kind: str) -> Iterator[Slot]:
    if kind in MEDIA:
        yield Slot(HEADER_MEDIA, VariablePlace.HEADER, ValueKind.MEDIA)
    if kind == DOCUMENT:
        yield Slot(HEADER_FILENAME, VariablePlace.HEADER, ValueKind.FILENAME, is_required=False)
    if kind == LOCATION:
        kinds = (ValueKind.LATITUDE, ValueKind.LONGITUDE, ValueKind.PLACE, ValueKind.PLACE)
        yield from (Slot(key, VariablePlace.HEADER, each) for key, each in zip(HEADER_LOCATION, kinds, strict=True))
    if kind == PRODUCT:
        yield Slot(HEADER_PRODUCT, VariablePlace.HEADER, ValueKind.PRODUCT)
        yield Slot(HEADER_CATALOG, VariablePlace.HEADER, ValueKind.CATALOG)


def _button(key: str, button: Button) -> Iterator[Slot]:
    if button.takes_value:
        yield Slot(key, VariablePlace.BUTTON, ValueKind.LINK_END if button.kind == "URL" else ValueKind.COUPON)
    elif button.kind == "MPM":
        yield Slot(key, VariablePlace.BUTTON, ValueKind.SECTIONS)
        yield Slot(f"{key}.thumbnail", VariablePlace.BUTTON, ValueKind.PRODUCT, is_required=False)
    elif button.kind == "CATALOG":
        yield Slot(key, VariablePlace.BUTTON, ValueKind.PRODUCT, is_required=False)


def _defaulted(index: int, button: Button) -> Iterator[Slot]:
    if button.kind == "QUICK_REPLY":
        yield Slot(f"button.{index}", VariablePlace.BUTTON, ValueKind.PAYLOAD, is_required=False)
    elif button.kind == "FLOW":
        yield Slot(f"button.{index}", VariablePlace.BUTTON, ValueKind.FLOW_TOKEN, is_required=False)
        yield Slot(f"button.{index}.data", VariablePlace.BUTTON, ValueKind.FLOW_DATA, is_required=False)


def _move_to_card(number: int, slot: Slot) -> Slot:
    return slot._replace(key=card_key(number, slot.key), place=VariablePlace.CARD)


def card_key(number: int, key: str) -> str:
    """Return the key of a card's value in the whole template. Cards are numbered from 0."""
    return f"card.{number}.{key}"


def extract_card_values(number: int, values: dict[str, str]) -> dict[str, str]:
    """Return the values of one card, by their keys within the card."""
    begin = card_key(number, "")
    return {key.removeprefix(begin): value for key, value in values.items() if key.startswith(begin)}


def split_card_key(key: str) -> tuple[int | None, str]:
    """Split ``card.1.button.0`` into 1 and ``button.0``. Other keys return None and the key itself."""
    parts = key.split(".", 2)
    if len(parts) == 3 and parts[0] == "card" and parts[1].isdigit():
        return int(parts[1]), parts[2]
    return None, key
