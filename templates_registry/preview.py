"""Preview of a template with values: its form fields with their problems, and the message as the phone shows it.

Pages and panels use it. ``rendering.render`` decides what is valid and what the message says.
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

FIELD_PREFIX = "v."  # a form field is named by this prefix and the variable's key
MAX_VALUE_LENGTH = 4096

VALUE_HINTS: Mapping[ValueKind, StrOrPromise] = {
    ValueKind.MEDIA: _("Link to the file, starting with https://"),
    ValueKind.FILENAME: _("File name shown on the phone, such as “Invoice 5.pdf”"),
    ValueKind.LATITUDE: _("A number from −90 to 90, such as 59.9343"),
    ValueKind.LONGITUDE: _("A number from −180 to 180, such as 30.3351"),
    ValueKind.SECTIONS: _("One section per line: “Boots: SKU-1, SKU-2”"),
    ValueKind.MOMENT: _("Date and time, such as 2026-12-31 18:00"),
    ValueKind.CATALOG: _("The catalog ID at Meta"),
}

# Private-use characters around each value while the markup of its text is rendered.
MARK_START, MARK_END = "\ue000", "\ue001"
TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, kw_only=True)
class ValueField:
    """The form field of one variable, with its value and the problem of that value."""

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
        """Return the problem as a sentence, or an empty string."""
        if self.problem is None:
            return ""
        return message_catalog.render_sentence(self.code, {**self.problem.details, "title": self.title})

    @property
    def is_wrong(self) -> bool:
        """Return whether there is a value and it is not valid."""
        return bool(self.code) and not self.is_missing

    @property
    def format_hint(self) -> StrOrPromise:
        """Return how to write the value, or an empty string if that is obvious."""
        return VALUE_HINTS.get(self.variable.kind, "")

    @property
    def is_multiline(self) -> bool:
        return self.variable.kind in MULTILINE

    @property
    def is_optional(self) -> bool:
        return not self.variable.is_required


@dataclass(frozen=True, kw_only=True)
class SourcePiece:
    """A piece of the approved text. ``key`` is set if a variable is there."""

    text: str
    key: str = ""
    is_filled: bool = False


@dataclass(frozen=True)
class TemplatePreview:
    """One template with values.

    ``values`` has a value per variable key; keys without a variable are ignored. ``text_only``: the provider accepts
    the text alone, so only values of the text are shown and checked.
    """

    template: Template
    values: Mapping[str, str]
    text_only: bool = False

    @cached_property
    def definition(self) -> TemplateDefinition:
        return self.template.definition

    @cached_property
    def known_values(self) -> dict[str, str]:
        """Return the values whose keys the template has."""
        keys = {variable.key for variable in self.definition.variables}
        return {key: value for key, value in self.values.items() if key in keys}

    @cached_property
    def rendering(self) -> Rendering:
        return render(self.definition, self.known_values, text_only=self.text_only)

    @property
    def ready(self) -> bool:
        return self.rendering.ready

    @cached_property
    def fields(self) -> list[ValueField]:
        problems = {one.field: one for one in reversed(self.rendering.problems)}
        found = []
        for variable in self.definition.variables:
            if self.text_only and not variable.in_text:
                continue  # the provider adds this value itself
            found.append(
                ValueField(
                    variable=variable,
                    value=self.known_values.get(variable.key, ""),
                    problem=problems.get(f"variables.{variable.key}"),
                    title=variable_title(self.definition, variable),
                )
            )
        return found

    @property
    def message_problems(self) -> list[StrOrPromise]:
        """Return the problems of the message as a whole, such as its length, as sentences."""
        return [one.sentence for one in self.rendering.problems if not one.field.startswith("variables.")]

    @property
    def missing_count(self) -> int:
        """Return the number of values that are not filled in."""
        return sum(field.is_missing for field in self.fields)

    @property
    def length(self) -> int:
        """Return the length of the body in characters."""
        return len(self.rendering.body)

    @property
    def limit(self) -> int:
        return BODY_LIMIT

    @property
    def is_too_long(self) -> bool:
        return self.length > BODY_LIMIT

    @property
    def media(self) -> str:
        """Return the kind of a header without text, such as IMAGE or LOCATION; empty for a text header or none."""
        header = self.definition.header
        return "" if header is None or self.definition.header_text else header.kind

    @property
    def card_media(self) -> list[str]:
        """Return the header kind of each card, or an empty string."""
        return [card.header.kind if card.header else "" for card in self.definition.cards]

    @property
    def cards(self) -> list[tuple[str, Rendering]]:
        """Return each card with its header kind."""
        return list(zip(self.card_media, self.rendering.cards, strict=True))

    @property
    def location_lines(self) -> list[str]:
        """Return name and address of a location header, without empty ones."""
        values = apply_defaults(self.definition, self.known_values)
        return [values[key] for key in HEADER_LOCATION[2:] if values.get(key)]

    @cached_property
    def approved_text(self) -> list[list[SourcePiece]]:
        """Return the pieces of header, body and footer, with a value or a title for each variable."""
        texts = (
            (VariablePlace.HEADER, self.definition.header_text),
            (VariablePlace.BODY, self.definition.body),
            ("", self.definition.footer),
        )
        return [list(self._pieces(place, text)) for place, text in texts if text]

    def _pieces(self, place: str, text: str) -> Iterator[SourcePiece]:
        for piece in split_placeholders(text):
            if isinstance(piece, Placeholder):
                key = variable_key(piece.name, VariablePlace(place)) if place else piece.name
                value = self.known_values.get(key, "")
                yield SourcePiece(text=value or self.definition.variable_title(key), key=key, is_filled=bool(value))
            elif piece:
                yield SourcePiece(text=piece)

    @property
    def marked_header(self) -> SafeString:
        """Return the header as HTML with its values in <mark>. WhatsApp does not format headers."""
        html = str(escape(self._with_marks.header))
        return mark_safe(html.replace(MARK_START, "<mark>").replace(MARK_END, "</mark>"))

    @property
    def marked_body(self) -> SafeString:
        """Return the body as HTML with its values in <mark>."""
        return html_with_marks(self._with_marks.body)

    @cached_property
    def _with_marks(self) -> Rendering:
        values = apply_defaults(self.definition, self.known_values)
        around = {key: MARK_START + strip_marks(value) + MARK_END for key, value in values.items() if value}
        return render(self.definition, around)


def build_preview(template: Template, values: Mapping[str, str]) -> TemplatePreview | None:
    """Return a preview, or None if the template's components cannot be parsed."""
    try:
        template.definition  # noqa: B018  # parsed here, so that no property of the preview raises
    except InvalidTemplate:
        return None
    return TemplatePreview(template, values, text_only=not template.api_channel.provider.sends_template_values)


def values_from_form(form: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a posted form by variable key, each cut to ``MAX_VALUE_LENGTH``."""
    return {
        name.removeprefix(FIELD_PREFIX): value.replace("\0", "")[:MAX_VALUE_LENGTH]
        for name, value in form.items()
        if name.startswith(FIELD_PREFIX)
    }


def strip_marks(text: str) -> str:
    return text.replace(MARK_START, "").replace(MARK_END, "")


def html_with_marks(text: str) -> SafeString:
    """Return the text as HTML with its values in <mark>; without them if they would overlap formatting tags."""
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
