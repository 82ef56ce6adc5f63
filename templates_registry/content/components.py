"""Structure of a template: header, body, footer, buttons, cards, and their variables.

Numbered and named variables share one model: each variable has a key, and values are passed as {key: value}. Keys:

    ``1``           a body's ``{{1}}``
    ``header.1``    a header's ``{{1}}``, which is another variable
    ``first_name``  ``{{first_name}}`` in any component
    all others      see ``slots``: ``header.media``, ``button.1``, ``offer.expires``, ``card.0.header.media``…
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from templates_registry import message_catalog

from . import authentication
from .placeholders import PLACEHOLDER as PLACEHOLDER
from .placeholders import Placeholder as Placeholder
from .placeholders import VariablePlace as VariablePlace
from .placeholders import add_braces as add_braces
from .placeholders import find_names as find_names
from .placeholders import is_numbered as is_numbered
from .placeholders import sort_names as sort_names
from .placeholders import split_placeholders as split_placeholders
from .placeholders import variable_key as variable_key
from .slots import CODE, ValueKind, list_defaulted_slots, list_slots
from .slots import HEADER_LOCATION as HEADER_LOCATION
from .slots import HEADER_MEDIA as HEADER_MEDIA
from .slots import LOCATION as LOCATION
from .slots import MEDIA as MEDIA
from .slots import TEXT as TEXT

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

HEADER_LIMIT, BODY_LIMIT, FOOTER_LIMIT = 60, 1024, 60


class InvalidTemplate(ValueError):
    """The given data is not a template, or not values for one. ``sentence`` explains the error to a person."""

    def __init__(self, code: str, **details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.sentence = message_catalog.render_sentence(code, details)


class ParameterFormat(StrEnum):
    """``parameter_format`` of the Graph API."""

    NUMBERED = "POSITIONAL"
    NAMED = "NAMED"


class Level(StrEnum):
    """Severity of a problem: errors prevent sending or submission, warnings do not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and its place: ``field`` is ``body``, ``buttons.0.text``, ``variables.2.example``…"""

    field: str
    code: str
    level: Level = Level.ERROR
    details: Mapping[str, StrOrPromise | int] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def sentence(self) -> StrOrPromise:
        return message_catalog.render_sentence(self.code, self.details)


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that a template needs or accepts, with the admin's label, example, hint and default."""

    key: str
    place: VariablePlace = VariablePlace.BODY
    label: str = ""
    example: str = ""
    hint: str = ""
    # Used if no value is given, for example a header's usual picture, which pasted text cannot contain.
    default: str = ""
    kind: ValueKind = ValueKind.TEXT
    is_required: bool = True

    @property
    def name(self) -> str:
        """The name between the braces."""
        return self.key.removeprefix("header.") if self.place is VariablePlace.HEADER else self.key

    @property
    def title(self) -> str:
        """The label, or else the placeholder or key."""
        return self.label or (add_braces(self.name) if self.in_text else self.key)

    @property
    def in_text(self) -> bool:
        """Whether pasted text contains the value."""
        return self.place in (VariablePlace.HEADER, VariablePlace.BODY) and self.kind in (
            ValueKind.TEXT,
            ValueKind.CODE,
        )


@dataclass(frozen=True, slots=True)
class Header:
    kind: str = TEXT
    text: str = ""
    handle: str = ""  # sample of a media header at the provider: a temporary link that must never be sent
    extra: str = ""  # the provider's other fields, as JSON, as in Button


@dataclass(frozen=True, slots=True)
class Offer:
    """A limited-time offer. ``has_expiration``: the message shows when the offer ends."""

    text: str = ""
    has_expiration: bool = False
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    kind: str
    text: str = ""
    url: str = ""
    phone_number: str = ""
    example: str = ""
    extra: str = ""  # the provider's other fields, as JSON: preserved unchanged

    @property
    def is_otp(self) -> bool:
        """Whether the button takes an authentication code. Submitted as OTP, listed as a WhatsApp URL."""
        return self.kind == "OTP" or (self.kind == "URL" and authentication.is_code_link(self.url))

    @property
    def takes_value(self) -> bool:
        """Whether the button needs a value: the end of a URL or a coupon code."""
        return self.kind == "COPY_CODE" or (
            self.kind == "URL" and bool(PLACEHOLDER.search(self.url)) and not self.is_otp
        )


@dataclass(frozen=True)
class TemplateDefinition:
    """A template in one language. ``described`` holds labels, examples, hints and defaults of variables, by key."""

    name: str
    language: str
    body: str
    category: str = ""
    header: Header | None = None
    footer: str = ""
    buttons: tuple[Button, ...] = ()
    format: ParameterFormat = ParameterFormat.NUMBERED
    described: tuple[Variable, ...] = field(default=(), repr=False)
    requested_category: str = ""  # the requested category, if the provider chose another
    others: tuple[str, ...] = field(default=(), repr=False)  # unknown components, as JSON, preserved unchanged
    offer: Offer | None = None
    cards: tuple[TemplateDefinition, ...] = ()  # of a carousel; each has only header, body and buttons
    # WhatsApp writes the body or footer of an authentication template; ``body`` and ``footer`` only imitate it.
    has_standard_body: bool = False
    has_standard_footer: bool = False
    body_extra: str = field(default="", repr=False)
    footer_extra: str = field(default="", repr=False)
    extra: str = field(default="", repr=False)  # other fields of a card, as JSON
    order: tuple[str, ...] = field(default=(), repr=False, compare=False)  # of the components in the provider's data

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.language

    @property
    def header_text(self) -> str:
        return self.header.text if self.header and self.header.kind == TEXT else ""

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """All variables, each once: of the header, the body (numbered ones by number), the buttons and so on."""
        described = {variable.key: variable for variable in self.described}
        return tuple(
            replace(
                described.get(slot.key, Variable(slot.key)),
                place=slot.place,
                kind=slot.kind,
                is_required=slot.is_required,
            )
            for slot in list_slots(self)
        )

    @cached_property
    def defaulted_variables(self) -> tuple[Variable, ...]:
        """Variables with a default of their own, which no form asks for: a button's payload, a flow's token."""
        slots = list_defaulted_slots(self)
        return tuple(Variable(slot.key, slot.place, kind=slot.kind, is_required=False) for slot in slots)

    @cached_property
    def code_key(self) -> str:
        """The key of the variable with the authentication code; empty if the template has no code."""
        if not (self.has_standard_body or any(button.is_otp for button in self.buttons)):
            return ""
        names = sort_names(find_names(self.body))
        return variable_key(names[0], VariablePlace.BODY) if names else CODE

    def variable(self, key: str) -> Variable | None:
        return next((variable for variable in self.variables if variable.key == key), None)

    def variable_title(self, key: str) -> str:
        variable = self.variable(key)
        return variable.title if variable else key

    def label_piece(self, piece: str | Placeholder, place: VariablePlace = VariablePlace.BODY) -> str:
        """Return a piece of a text, with the admin's label in brackets in place of a placeholder that has one."""
        if not isinstance(piece, Placeholder):
            return piece
        variable = self.variable(variable_key(piece.name, place))
        return f"[{variable.label}]" if variable and variable.label else add_braces(piece.name)

    def arrange_values(self, parameters: Mapping[str, str]) -> list[str] | dict[str, str]:
        """Return values in the API's shape: a list for numbered variables, a mapping for named ones."""
        values = {v.key: parameters[v.key] for v in self.variables if v.key in parameters}
        return list(values.values()) if self.format is ParameterFormat.NUMBERED else values

    def map_values(self, parameters: object) -> dict[str, str]:
        """Return values by key: the reverse of ``arrange_values``. Numbers become text, None values are dropped.

        A value beyond the last variable gets a key that no variable has. Raises InvalidTemplate for any other shape.
        """
        if isinstance(parameters, Mapping):
            pairs = [(str(key), value) for key, value in parameters.items()]
        elif isinstance(parameters, list | tuple):
            keys = [variable.key for variable in self.variables]
            keys += [f"+{number}" for number in range(1, len(parameters) - len(keys) + 1)]
            pairs = list(zip(keys, parameters, strict=False))
        else:
            raise InvalidTemplate("values_shape")
        return {key: _as_text(value) for key, value in pairs if value is not None}


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTemplate("values_shape")
    return str(value)


def merge_descriptions(template: TemplateDefinition, variables: Sequence[Variable]) -> TemplateDefinition:
    """Return the template with these labels, examples, hints and defaults; empty ones keep the template's own."""
    descriptions = {variable.key: variable for variable in variables}
    merged = []
    for own in template.variables:
        new = descriptions.get(own.key, own)
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
