"""A template as it is being filled in: its fields with what is wrong in each, and the message as it will be.

For pages and panels; everything in it comes from ``rendering.render``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.whatsapp_markup import render_html

from . import message_catalog
from .content.components import (
    BODY_LIMIT,
    HEADER_LOCATION,
    Placeholder,
    Problem,
    TemplateDefinition,
    Variable,
    VariablePlace,
    split_placeholders,
    variable_key,
)
from .content.graph_format import InvalidTemplate
from .content.rendering import Rendering, apply_defaults, render
from .content.slots import ValueKind
from .content.titles import variable_title
from .content.value_checks import MULTILINE
from .models import Template

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FIELD_PREFIX = "v."  # of a field's name in a form, before the variable's key
MAX_VALUE_LENGTH = 4096

VALUE_HINTS: Mapping[ValueKind, StrOrPromise] = {
    ValueKind.MEDIA: _("Link to the file, starting with https://"),
    ValueKind.FILENAME: _("File name shown on the phone, such as “Invoice 5.pdf”"),
    ValueKind.LATITUDE: _("A number from −90 to 90, such as 59.9343"),
    ValueKind.LONGITUDE: _("A number from −180 to 180, such as 30.3351"),
    ValueKind.SECTIONS: _("One section per line: “Boots: SKU-1, SKU-2”"),
    ValueKind.MOMENT: _("Date and time, such as 2026-12-31 18:00"),
    ValueKind.CATALOG: _("The catalog's number at Meta"),
}

MARK_START, MARK_END = "\ue000", "\ue001"  # private characters around a value while its text is being formatted
TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, kw_only=True)
class ValueField:
    variable: Variable
    value: str
    title: StrOrPromise
    problem: Problem | None = None

    @property
    def name(self) -> str:
        return FIELD_PREFIX + self.variable.key

    @property
    def is_missing(self) -> bool:
        return self.code in ("missing", "empty")

    @property
    def code(self) -> str:
        return self.problem.code if self.problem else ""

    @property
    def sentence(self) -> StrOrPromise:
        """What is wrong, in words."""
        if self.problem is None:
            return ""
        return message_catalog.render_sentence(self.code, {**self.problem.details, "title": self.title})

    @property
    def is_wrong(self) -> bool:
        """Worth a red mark: there is a value, and it cannot stay as it is."""
        return bool(self.code) and not self.is_missing

    @property
    def note(self) -> StrOrPromise:
        """How the value is written, where that does not go without saying."""
        return VALUE_HINTS.get(self.variable.kind, "")

    @property
    def is_multiline(self) -> bool:
        return self.variable.kind in MULTILINE

    @property
    def is_optional(self) -> bool:
        return not self.variable.is_required


@dataclass(frozen=True, kw_only=True)
class SourcePiece:
    """A stretch of a template's own text; ``key`` where a variable stands."""

    text: str
    key: str = ""
    is_filled: bool = False


@dataclass(frozen=True)
class TemplatePreview:
    """One template with values. ``values`` by key; those of no variable are left aside."""

    template: Template
    values: Mapping[str, str]
    text_only: bool = False

    @cached_property
    def pattern(self) -> TemplateDefinition:
        return self.template.pattern

    @cached_property
    def given(self) -> dict[str, str]:
        keys = {variable.key for variable in self.pattern.variables}
        return {key: value for key, value in self.values.items() if key in keys}

    @cached_property
    def rendering(self) -> Rendering:
        return render(self.pattern, self.given, text_only=self.text_only)

    @property
    def ready(self) -> bool:
        return self.rendering.ready

    @cached_property
    def fields(self) -> list[ValueField]:
        problems = {one.field: one for one in reversed(self.rendering.problems)}
        found = []
        for variable in self.pattern.variables:
            if self.text_only and not variable.in_text:
                continue  # the provider adds it by itself
            found.append(
                ValueField(
                    variable=variable,
                    value=self.given.get(variable.key, ""),
                    problem=problems.get(f"variables.{variable.key}"),
                    title=variable_title(self.pattern, variable),
                )
            )
        return found

    @property
    def lengths(self) -> list[StrOrPromise]:
        """What is too long as a whole, in sentences."""
        return [one.sentence for one in self.rendering.problems if not one.field.startswith("variables.")]

    @property
    def missing(self) -> int:
        return sum(field.is_missing for field in self.fields)

    @property
    def length(self) -> int:
        return len(self.rendering.body)

    @property
    def limit(self) -> int:
        return BODY_LIMIT

    @property
    def is_too_long(self) -> bool:
        return self.length > BODY_LIMIT

    @property
    def media(self) -> str:
        """What the header shows instead of text: IMAGE, VIDEO, DOCUMENT, LOCATION; empty for text or none."""
        header = self.pattern.header
        return "" if header is None or self.pattern.header_text else header.kind

    @property
    def card_media(self) -> list[str]:
        """The same of each card."""
        return [card.header.kind if card.header else "" for card in self.pattern.cards]

    @property
    def cards(self) -> list[tuple[str, Rendering]]:
        """What each card's header shows, and the card with its values."""
        return list(zip(self.card_media, self.rendering.cards, strict=True))

    @property
    def place(self) -> list[str]:
        """A header's place: name and address, as far as they are given."""
        values = apply_defaults(self.pattern, self.given)
        return [values[key] for key in HEADER_LOCATION[2:] if values.get(key)]

    @cached_property
    def source(self) -> list[list[SourcePiece]]:
        """The approved text, a component a list, with each variable under its title or its value."""
        texts = (
            (VariablePlace.HEADER, self.pattern.header_text),
            (VariablePlace.BODY, self.pattern.body),
            ("", self.pattern.footer),
        )
        return [list(self._pieces(place, text)) for place, text in texts if text]

    def _pieces(self, place: str, text: str) -> Iterator[SourcePiece]:
        for piece in split_placeholders(text):
            if isinstance(piece, Placeholder):
                key = variable_key(piece.name, VariablePlace(place)) if place else piece.name
                value = self.given.get(key, "")
                yield SourcePiece(text=value or self.pattern.variable_title(key), key=key, is_filled=bool(value))
            elif piece:
                yield SourcePiece(text=piece)

    @property
    def marked_header(self) -> SafeString:
        """As it is: a header is not formatted."""
        html = str(escape(self._with_marks.header))
        return mark_safe(html.replace(MARK_START, "<mark>").replace(MARK_END, "</mark>"))

    @property
    def marked_body(self) -> SafeString:
        return html_with_marks(self._with_marks.body)

    @cached_property
    def _with_marks(self) -> Rendering:
        values = apply_defaults(self.pattern, self.given)
        around = {key: MARK_START + strip_marks(value) + MARK_END for key, value in values.items() if value}
        return render(self.pattern, around)


def build_preview(template: Template, values: Mapping[str, str]) -> TemplatePreview | None:
    """None where the template's components cannot be read."""
    try:
        template.pattern  # noqa: B018  # read here, so that nobody further on meets broken components
    except InvalidTemplate:
        return None
    return TemplatePreview(template, values, text_only=not template.api_channel.provider.sends_template_values)


def values_from_form(form: Mapping[str, str]) -> dict[str, str]:
    """The values of a posted form, by key."""
    return {
        name.removeprefix(FIELD_PREFIX): value.replace("\0", "")[:MAX_VALUE_LENGTH]
        for name, value in form.items()
        if name.startswith(FIELD_PREFIX)
    }


def strip_marks(text: str) -> str:
    return text.replace(MARK_START, "").replace(MARK_END, "")


def html_with_marks(text: str) -> SafeString:
    """The text as HTML with its values in <mark>; without marks where they would cross its bold or italic."""
    html = TAG.sub(lambda tag: strip_marks(tag[0]), render_html(text))
    opened: list[str] = []
    for step in re.finditer(f"{MARK_START}|{MARK_END}|</?([a-z]+)[^>]*>", html):
        name = "mark" if step[0] in (MARK_START, MARK_END) else step[1]
        if name == "br":
            continue
        if step[0] != MARK_END and not step[0].startswith("</"):
            opened.append(name)
        elif not opened or opened.pop() != name:
            return render_html(strip_marks(text))
    return mark_safe(html.replace(MARK_START, "<mark>").replace(MARK_END, "</mark>"))
