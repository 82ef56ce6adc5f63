"""A template as the provider knows it: header, body, footer, buttons, and the variables in them.

Numbered and named variables are one model: a variable has a key, and values travel as {key: value}. The key of

    a body's ``{{1}}`` is ``1``; a header's ``{{1}}``, which is another variable, is ``header.1``;
    ``{{first_name}}`` is ``first_name`` wherever it stands;
    a header's picture, video or document is ``header.media``; a header's place is four: ``header.latitude`` …;
    what the second button needs (the end of its link, a coupon code) is ``button.1``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from templates_registry import sentences

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

HOLE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")

TEXT, LOCATION = "TEXT", "LOCATION"
MEDIA = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")
HEADER_MEDIA = "header.media"
HEADER_LOCATION = ("header.latitude", "header.longitude", "header.name", "header.address")

HEADER_LIMIT, BODY_LIMIT, FOOTER_LIMIT = 60, 1024, 60


class NotATemplate(ValueError):
    """What was given has not the shape of a template, or of values for one; ``sentence`` says so to a person."""

    def __init__(self, code: str, **details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.sentence = sentences.sentence(code, details)


class Format(StrEnum):
    NUMBERED = "POSITIONAL"
    NAMED = "NAMED"


class Place(StrEnum):
    HEADER = "header"
    BODY = "body"
    BUTTON = "button"


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: ``field`` is ``body``, ``buttons.0.text``, ``variables.2.example``…"""

    field: str
    code: str
    level: Level = Level.ERROR
    details: Mapping[str, StrOrPromise | int] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def sentence(self) -> StrOrPromise:
        return sentences.sentence(self.code, self.details)


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of a variable in a text."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    key: str
    place: Place = Place.BODY
    label: str = ""
    example: str = ""
    hint: str = ""
    # Taken where nobody gives a value: a header's usual picture, say, which a pasted text cannot carry.
    default: str = ""

    @property
    def name(self) -> str:
        """What stands between the braces."""
        return self.key.removeprefix("header.") if self.place is Place.HEADER else self.key

    @property
    def title(self) -> str:
        """How people see it: its label, if it has one."""
        return self.label or (braced(self.name) if self.in_text else self.key)

    @property
    def in_text(self) -> bool:
        """Whether a pasted text carries its value."""
        return self.place is not Place.BUTTON and self.key not in (HEADER_MEDIA, *HEADER_LOCATION)


@dataclass(frozen=True, slots=True)
class Header:
    kind: str = TEXT
    text: str = ""
    handle: str = ""  # the provider's sample of a media header: a temporary link, never to be sent


@dataclass(frozen=True, slots=True)
class Button:
    kind: str
    text: str = ""
    url: str = ""
    phone_number: str = ""
    example: str = ""
    extra: str = ""  # whatever else the provider said of it, as JSON: kept and given back untouched

    @property
    def takes_value(self) -> bool:
        return self.kind == "COPY_CODE" or (self.kind == "URL" and bool(HOLE.search(self.url)))


@dataclass(frozen=True)
class Template:
    """One text in one language. ``described`` gives labels, examples, hints and defaults to variables, by key."""

    name: str
    language: str
    body: str
    category: str = ""
    header: Header | None = None
    footer: str = ""
    buttons: tuple[Button, ...] = ()
    format: Format = Format.NUMBERED
    described: tuple[Variable, ...] = field(default=(), repr=False)
    asked_category: str = ""  # what was asked for, where the provider then chose another
    others: tuple[str, ...] = field(default=(), repr=False)  # components unknown to us, as JSON, kept untouched

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.language

    @property
    def header_text(self) -> str:
        return self.header.text if self.header and self.header.kind == TEXT else ""

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Each variable once: the header's, the body's (numbered ones in their order), then the buttons'."""
        described = {variable.key: variable for variable in self.described}
        found: dict[str, Variable] = {}
        for key, place in self._needed():
            if key not in found:
                found[key] = replace(described.get(key, Variable(key)), place=place)
        return tuple(found.values())

    def variable(self, key: str) -> Variable | None:
        return next((variable for variable in self.variables if variable.key == key), None)

    def title_of(self, key: str) -> str:
        variable = self.variable(key)
        return variable.title if variable else key

    def arrange(self, parameters: Mapping[str, str]) -> list[str] | dict[str, str]:
        """Values as they travel: a list for numbered variables, a mapping for named ones."""
        given = {v.key: parameters[v.key] for v in self.variables if v.key in parameters}
        return list(given.values()) if self.format is Format.NUMBERED else given

    def keyed(self, parameters: object) -> dict[str, str]:
        """The reverse of ``arrange``, for values from anywhere: numbers become text, None is no value.

        A value beyond the last variable gets a key that no variable has. NotATemplate for any other shape.
        """
        if isinstance(parameters, Mapping):
            pairs = [(str(key), value) for key, value in parameters.items()]
        elif isinstance(parameters, list | tuple):
            keys = [variable.key for variable in self.variables]
            keys += [f"+{number}" for number in range(1, len(parameters) - len(keys) + 1)]
            pairs = list(zip(keys, parameters, strict=False))
        else:
            raise NotATemplate("values_shape")
        return {key: _as_text(value) for key, value in pairs if value is not None}

    def _needed(self) -> Iterator[tuple[str, Place]]:
        if self.header and self.header.kind in MEDIA:
            yield HEADER_MEDIA, Place.HEADER
        elif self.header and self.header.kind == LOCATION:
            yield from ((key, Place.HEADER) for key in HEADER_LOCATION)
        for place, text in ((Place.HEADER, self.header_text), (Place.BODY, self.body)):
            yield from ((key_of(name, place), place) for name in in_order(names_in(text)))
        for index, button in enumerate(self.buttons):
            if button.takes_value:
                yield f"button.{index}", Place.BUTTON


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotATemplate("values_shape")
    return str(value)


def described_as(template: Template, variables: Sequence[Variable]) -> Template:
    """The same template with these labels, examples, hints and defaults, where they say something."""
    said = {variable.key: variable for variable in variables}
    merged = []
    for own in template.variables:
        new = said.get(own.key, own)
        merged.append(
            replace(
                own,
                label=new.label or own.label,
                example=new.example or own.example,
                hint=new.hint or own.hint,
                default=new.default or own.default,
            )
        )
    return replace(template, described=tuple(merged))


def split(text: str) -> tuple[str | Hole, ...]:
    """Fixed parts and holes in turn, beginning and ending with a fixed part (which may be empty)."""
    return tuple(Hole(piece) if index % 2 else piece for index, piece in enumerate(HOLE.split(text)))


def names_in(text: str) -> list[str]:
    """The variables' names in order of appearance, each once."""
    return list(dict.fromkeys(HOLE.findall(text)))


def in_order(names: list[str]) -> list[str]:
    """Numbered ones by number: ``{{2}} {{1}}`` has the values of 1 and 2, in this order."""
    return sorted(names, key=int) if all(is_number(name) for name in names) else names


def is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 6


def key_of(name: str, place: Place) -> str:
    return f"header.{name}" if place is Place.HEADER and is_number(name) else name


def braced(name: str) -> str:
    return "{{" + name + "}}"
