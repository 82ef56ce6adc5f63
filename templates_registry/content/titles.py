"""Titles of a template's variables for people: the admin's label, or else a standard title."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from .components import HEADER_MEDIA, TemplateDefinition, Variable, VariablePlace
from .slots import HEADER_CATALOG, HEADER_FILENAME, HEADER_PRODUCT, OFFER_EXPIRES, ValueKind, split_card_key

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

NOT_IN_TEXT: Mapping[str, StrOrPromise] = {
    HEADER_MEDIA: _("File above the text"),
    HEADER_FILENAME: _("File name"),
    "header.latitude": _("Latitude"),
    "header.longitude": _("Longitude"),
    "header.name": _("Name of the place"),
    "header.address": _("Address of the place"),
    HEADER_PRODUCT: _("Product ID"),
    HEADER_CATALOG: _("Catalog ID"),
    OFFER_EXPIRES: _("Offer ends at"),
}
FOR_BUTTON, COUPON = _("For the button “%(button)s”"), _("Coupon code")
CODE_TITLE = _("Verification code")
OF_BUTTON: Mapping[ValueKind, StrOrPromise] = {
    ValueKind.SECTIONS: _("Products for the button “%(button)s”"),
    ValueKind.PRODUCT: _("Product shown as the picture"),
    ValueKind.PAYLOAD: _("Payload of the button “%(button)s”"),
    ValueKind.FLOW_TOKEN: _("Flow token of the button “%(button)s”"),
    ValueKind.FLOW_DATA: _("Flow data of the button “%(button)s”"),
}
IN_CARD = _("Card %(card)s: %(title)s")

_format_lazily: Callable[..., StrOrPromise] = lazy(lambda text, words: str(text) % words, str)


def variable_title(template: TemplateDefinition, variable: Variable) -> StrOrPromise:
    """Return the title of a variable, lazily in the reader's language unless it is the admin's label."""
    if variable.label:
        return variable.label
    card, key = split_card_key(variable.key)
    if card is not None:
        inner = template.cards[card].variable(key) or replace(variable, key=key, place=VariablePlace.BUTTON)
        return _format_lazily(IN_CARD, {"card": card + 1, "title": variable_title(template.cards[card], inner)})
    if variable.kind is ValueKind.CODE:
        return CODE_TITLE
    if variable.in_text:
        return variable.title
    if variable.place is VariablePlace.BUTTON:
        return _title_for_button(template, variable)
    return NOT_IN_TEXT.get(variable.key, variable.title)


def _title_for_button(template: TemplateDefinition, variable: Variable) -> StrOrPromise:
    words = template.buttons[int(variable.key.split(".")[1])].text
    if variable.kind in OF_BUTTON:
        return _format_lazily(OF_BUTTON[variable.kind], {"button": words})
    return _format_lazily(FOR_BUTTON, {"button": words}) if words else COUPON


def translated_titles(template: TemplateDefinition, variable: Variable) -> Iterator[str]:
    """Yield the title of a variable in every language of the interface."""
    title = variable_title(template, variable)
    if isinstance(title, str):
        yield title
        return
    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            yield str(title)
