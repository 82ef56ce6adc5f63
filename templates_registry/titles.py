"""Names of a template's variables for people: the admin's label, or words of our own for what is no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from templates_registry.components import HEADER_MEDIA, Place, Template, Variable

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

NOT_IN_TEXT: Mapping[str, StrOrPromise] = {
    HEADER_MEDIA: _("File above the text"),
    "header.latitude": _("Latitude"),
    "header.longitude": _("Longitude"),
    "header.name": _("Name of the place"),
    "header.address": _("Address of the place"),
}
FOR_BUTTON, COUPON = _("For the button “%(button)s”"), _("Code of the coupon")

_with = lazy(lambda text, words: str(text) % words, str)


def title_of(template: Template, variable: Variable) -> StrOrPromise:
    """How people see a variable: its label, else what it is."""
    if variable.label or variable.in_text:
        return variable.title
    if variable.place is Place.BUTTON:
        words = template.buttons[int(variable.key.removeprefix("button."))].text
        return _with(FOR_BUTTON, {"button": words}) if words else COUPON
    return NOT_IN_TEXT.get(variable.key, variable.title)


def titles_in_all_languages(template: Template, variable: Variable) -> Iterator[str]:
    title = title_of(template, variable)
    if isinstance(title, str):
        yield title
        return
    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            yield str(title)
