"""Template + values -> what the phone will show, what an operator would paste, and the provider's parameter lists.

The only renderer: pages, admin, relay and API all call it. A value is put in once and never looked into again, so
``{{2}}`` inside a value stays text. Its inverse is ``matching``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.utils.safestring import SafeString

from channels_setup.codecs.whatsapp_markup import to_html
from templates_registry.components import (
    BODY_LIMIT,
    HEADER_LIMIT,
    HEADER_LOCATION,
    HEADER_MEDIA,
    HOLE,
    LOCATION,
    MEDIA,
    Format,
    Hole,
    Level,
    Place,
    Problem,
    Template,
    braced,
    in_order,
    key_of,
    names_in,
    split,
)
from templates_registry.normalising import BLANKS, MOST_SPACES, NEWLINES, SEEN, SPACES, TAB
from templates_registry.titles import title_of
from templates_registry.unfilled import placeholder_in

URL_LIMIT, CODE_LIMIT = 2000, 20
ROW_OF_SPACES = re.compile(f"[{SPACES}]{{{MOST_SPACES + 1}}}")
STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
URL_SAFE = "/?#&=%:;,+@!$'()*~[]"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RenderedButton:
    kind: str
    text: str
    target: str = ""  # the link, the phone number or the coupon code


@dataclass(frozen=True, slots=True)
class Rendering:
    """A variable without a value still stands there as ``{{1}}``, and ``problems`` says so."""

    header: str
    body: str
    footer: str
    buttons: tuple[RenderedButton, ...]
    problems: tuple[Problem, ...]
    media: str = ""  # the link of the header's picture, video or document

    @property
    def ready(self) -> bool:
        """Whether it can be sent as it is."""
        return not any(problem.level is Level.ERROR for problem in self.problems)

    @property
    def text(self) -> str:
        """All of it as operators paste it."""
        return "\n".join(part for part in (self.header, self.body, self.footer) if part)

    @property
    def header_html(self) -> SafeString:
        return to_html(self.header)

    @property
    def body_html(self) -> SafeString:
        return to_html(self.body)


def render(template: Template, parameters: object, *, text_only: bool = False) -> Rendering:
    """``parameters`` by key, or as a list in the order of ``template.variables``; NotATemplate if neither.

    ``text_only``: media and what buttons need may be missing, because the provider adds them by itself.
    """
    values = with_defaults(template, parameters)
    rendering = Rendering(
        header=_filled(template.header_text, Place.HEADER, values),
        body=_filled(template.body, Place.BODY, values),
        footer=template.footer,
        buttons=tuple(_button(template, index, values) for index in range(len(template.buttons))),
        problems=(),
        media=values.get(HEADER_MEDIA, ""),
    )
    problems = (*_value_problems(template, values, text_only=text_only), *_length_problems(template, rendering))
    return Rendering(rendering.header, rendering.body, rendering.footer, rendering.buttons, problems, rendering.media)


def with_defaults(template: Template, parameters: object) -> dict[str, str]:
    given = template.keyed(parameters)
    defaults = {variable.key: variable.default for variable in template.variables if variable.default}
    return given | {key: value for key, value in defaults.items() if not given.get(key)}


def value_problem(value: str) -> str:
    """Why the provider would not take this value: a code, or nothing."""
    seen = value.translate(SEEN)
    if not seen.strip(BLANKS):
        return "empty"
    if any(character in NEWLINES for character in seen):
        return "newline"
    if TAB in seen:
        return "tab"
    return "spaces" if ROW_OF_SPACES.search(seen) else ""


def provider_components(template: Template, parameters: object) -> list[Json]:
    """``components`` of the Cloud API's send call; those without parameters are left out."""
    values = with_defaults(template, parameters)
    rows = [
        {"type": "header", "parameters": _header_parameters(template, values)},
        {"type": "body", "parameters": _text_parameters(template, template.body, Place.BODY, values)},
    ]
    for index, button in enumerate(template.buttons):
        value = values.get(f"button.{index}")
        if value is None:
            continue
        parameter: Json = {"type": "payload", "payload": value}
        if button.kind == "URL":
            parameter = {"type": "text", "text": percent_encoded(value)}
        elif button.kind == "COPY_CODE":
            parameter = {"type": "coupon_code", "coupon_code": value}
        row: Json = {"type": "button", "sub_type": button.kind.lower(), "index": str(index)}
        rows.append(row | {"parameters": [parameter]})
    return [row for row in rows if row["parameters"]]


def percent_encoded(value: str) -> str:
    """The end of a link as the provider wants it; what is encoded already stays so."""
    return quote(STRAY_PERCENT.sub("%25", value), safe=URL_SAFE)


def _filled(text: str, place: Place, values: Mapping[str, str]) -> str:
    return "".join(
        values.get(key_of(piece.name, place)) or braced(piece.name) if isinstance(piece, Hole) else piece
        for piece in split(text)
    )


def _button(template: Template, index: int, values: Mapping[str, str]) -> RenderedButton:
    button = template.buttons[index]
    value = values.get(f"button.{index}", "")
    if button.kind == "URL":
        end = percent_encoded(value)
        return RenderedButton(button.kind, button.text, HOLE.sub(lambda hole: end or hole[0], button.url))
    return RenderedButton(button.kind, button.text, button.phone_number or value)


def _value_problems(template: Template, values: Mapping[str, str], *, text_only: bool) -> Iterator[Problem]:
    for variable in template.variables:
        value = values.get(variable.key)
        if text_only and not variable.in_text and not value:
            continue
        title = title_of(template, variable)
        if code := "missing" if value is None or value == "" else value_problem(value):
            yield Problem(f"variables.{variable.key}", code, details={"title": title})
        elif value and (placeholder := placeholder_in(template, variable, value)):
            details = {"title": title, "placeholder": placeholder}
            yield Problem(f"variables.{variable.key}", "placeholder", details=details)
    keys = {variable.key for variable in template.variables}
    # A quick reply may carry a payload of ours; nobody has to give one.
    keys |= {f"button.{index}" for index, b in enumerate(template.buttons) if b.kind == "QUICK_REPLY"}
    for key, value in values.items():
        if key not in keys:
            yield Problem(f"variables.{key}", "unknown_value", details={"value": value[:60]})


def _length_problems(template: Template, rendering: Rendering) -> Iterator[Problem]:
    for component, text, limit in (
        ("header", rendering.header, HEADER_LIMIT),
        ("body", rendering.body, BODY_LIMIT),
    ):
        if len(text) > limit:
            details = {"length": len(text), "limit": limit}
            yield Problem(component, "rendered_too_long", details=details)
    for index, button in enumerate(rendering.buttons):
        limit = CODE_LIMIT if button.kind == "COPY_CODE" else URL_LIMIT
        if template.buttons[index].takes_value and len(button.target) > limit:
            code = "link_too_long" if button.kind == "URL" else "code_too_long"
            details = {"length": len(button.target), "limit": limit}
            yield Problem(f"variables.button.{index}", code, details=details)


def _header_parameters(template: Template, values: Mapping[str, str]) -> list[Json]:
    kind = template.header.kind if template.header else ""
    if kind in MEDIA and (media := values.get(HEADER_MEDIA)):
        source = "link" if media.startswith(("https://", "http://")) else "id"
        return [{"type": kind.lower(), kind.lower(): {source: media}}]
    if kind == LOCATION and all(values.get(key) for key in HEADER_LOCATION):
        place = {key.removeprefix("header."): values[key] for key in HEADER_LOCATION}
        return [{"type": "location", "location": place}]
    return _text_parameters(template, template.header_text, Place.HEADER, values)


def _text_parameters(template: Template, text: str, place: Place, values: Mapping[str, str]) -> list[Json]:
    found: list[Json] = []
    for name in in_order(names_in(text)):
        row: Json = {"type": "text", "text": values.get(key_of(name, place), "")}
        found.append(row | ({"parameter_name": name} if template.format is Format.NAMED else {}))
    return found
