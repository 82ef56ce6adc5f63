"""Rendering of a template with values: the visible message, the text to paste, and the provider's parameters.

The only renderer, used by pages, admin, relay and API. Inserted values are not searched for placeholders, so ``{{2}}``
inside a value remains text. The inverse is ``matching.matcher``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from channels_setup.codecs.whatsapp_markup import render_html

from .components import (
    BODY_LIMIT,
    HEADER_LIMIT,
    HEADER_LOCATION,
    HEADER_MEDIA,
    LOCATION,
    MEDIA,
    PLACEHOLDER,
    Button,
    Level,
    ParameterFormat,
    Placeholder,
    Problem,
    TemplateDefinition,
    Variable,
    VariablePlace,
    find_names,
    sort_names,
    split_placeholders,
    variable_key,
)
from .leftover_placeholders import find_leftover
from .slots import (
    CODE,
    HEADER_CATALOG,
    HEADER_FILENAME,
    HEADER_PRODUCT,
    OFFER_EXPIRES,
    PRODUCT,
    ValueKind,
    card_key,
    extract_card_values,
)
from .titles import variable_title
from .value_checks import URL_LIMIT, check_value, file_name_from_link, is_https_link, parse_moment, parse_sections
from .value_checks import check_text_value as check_text_value

CARD_BODY_LIMIT = 160
VERBATIM = (ValueKind.TEXT, ValueKind.LINK_END, ValueKind.PAYLOAD, ValueKind.FLOW_TOKEN)
STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
URL_SAFE = "/?#&=%:;,+@!$'()*~[]"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RenderedButton:
    """A button as the contact sees it."""

    kind: str
    text: str
    target: str = ""  # the link, the phone number or the coupon code


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered template. Variables without a value remain as ``[label]`` or ``{{1}}``; see ``problems``."""

    header: str
    body: str
    footer: str
    buttons: tuple[RenderedButton, ...]
    problems: tuple[Problem, ...]
    media: str = ""  # the link of the header's picture, video or document
    filename: str = ""
    offer: str = ""  # text and expiry of a limited-time offer
    cards: tuple[Rendering, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the message can be sent: no problem is an error."""
        return not any(problem.level is Level.ERROR for problem in self.problems)

    @property
    def text(self) -> str:
        """Header, body and footer, as operators paste them."""
        return "\n".join(part for part in (self.header, self.body, self.footer) if part)

    @property
    def header_html(self) -> SafeString:
        return render_html(self.header)

    @property
    def body_html(self) -> SafeString:
        return render_html(self.body)


def render(template: TemplateDefinition, parameters: object, *, text_only: bool = False) -> Rendering:
    """Render a template.

    ``parameters`` are values by key, or a list in the order of ``template.variables``; raises InvalidTemplate for other
    shapes. ``text_only``: values for media and buttons may be missing, because the provider adds them itself.
    """
    values = apply_defaults(template, parameters)
    rendering = _rendered(template, values)
    problems = (*_value_problems(template, values, text_only=text_only), *_length_problems(template, rendering))
    return replace(rendering, problems=problems)


def _rendered(template: TemplateDefinition, values: dict[str, str]) -> Rendering:
    return Rendering(
        header=_filled(template, template.header_text, VariablePlace.HEADER, values),
        body=_filled(template, template.body, VariablePlace.BODY, values),
        footer=template.footer,
        buttons=tuple(_button(template, index, values) for index in range(len(template.buttons))),
        problems=(),
        media=values.get(HEADER_MEDIA, "") or values.get(HEADER_PRODUCT, ""),
        filename=_filename(values) if template.variable(HEADER_FILENAME) else "",
        offer=_offer(template, values),
        cards=tuple(_rendered(card, extract_card_values(number, values)) for number, card in enumerate(template.cards)),
    )


def _offer(template: TemplateDefinition, values: Mapping[str, str]) -> str:
    if template.offer is None:
        return ""
    ends = parse_moment(values.get(OFFER_EXPIRES, "")) if template.offer.has_expiration else None
    return " · ".join(filter(None, (template.offer.text, date_format(localtime(ends), "j E Y, H:i") if ends else "")))


def _filename(values: Mapping[str, str]) -> str:
    """Return the given name of a document, or else the one in its link."""
    return values.get(HEADER_FILENAME, "") or file_name_from_link(values.get(HEADER_MEDIA, ""))


def apply_defaults(template: TemplateDefinition, parameters: object) -> dict[str, str]:
    """Return values by key, with defaults for missing ones. Values other than texts are stripped of outer spaces."""
    values = template.map_values(parameters)
    for variable in (*template.variables, *template.defaulted_variables):
        value = values.get(variable.key) or variable.default
        if value or variable.key in values:
            values[variable.key] = value if variable.kind in VERBATIM else value.strip()
    return values


def build_provider_components(template: TemplateDefinition, parameters: object) -> list[Json]:
    """Build ``components`` of the Cloud API's send call. Components without parameters are left out."""
    values = apply_defaults(template, parameters)
    rows = _components(template, values)
    if template.offer and (ends := parse_moment(values.get(OFFER_EXPIRES, ""))):
        offer = {"expiration_time_ms": int(ends.timestamp() * 1000)}
        rows.append(_row("limited_time_offer", {"type": "limited_time_offer", "limited_time_offer": offer}))
    cards = [
        {"card_index": number, "components": _components(card, extract_card_values(number, values), is_card=True)}
        for number, card in enumerate(template.cards)
    ]
    return [*rows, {"type": "carousel", "cards": cards}] if cards else rows


def _components(template: TemplateDefinition, values: dict[str, str], *, is_card: bool = False) -> list[Json]:
    rows = [
        _row("header", *_header_parameters(template, values)),
        _row("body", *_text_parameters(template, template.body, VariablePlace.BODY, values)),
    ]
    found = [row for row in rows if row["parameters"]]
    if template.code_key == CODE and (code := values.get(CODE)):
        found.append(_row("body", {"type": "text", "text": code}))
    for index, button in enumerate(template.buttons):
        key = f"button.{index}"
        value = values.get(template.code_key if button.is_otp else key, "")
        sub_type = "url" if button.is_otp else button.kind.lower()
        parameter = _button_parameter(button, value, values, key=key)
        if parameter is None and is_card and button.kind == "QUICK_REPLY":
            parameter = {
                "type": "payload",
                "payload": button.text,
            }  # the default payload would not tell which card was pressed
        if parameter or button.kind == "CATALOG":  # without a parameter WhatsApp shows the catalog's first product
            head = {"type": "button", "sub_type": sub_type, "index": str(index)}
            found.append(head | ({"parameters": [parameter]} if parameter else {}))
    return found


def _row(kind: str, *parameters: Json) -> Json:
    return {"type": kind, "parameters": list(parameters)}


def _button_parameter(button: Button, value: str, values: Mapping[str, str], *, key: str) -> Json | None:
    """Return the parameter of a button, or None if it needs none. A flow without a given token has the default one."""
    if button.kind == "FLOW":
        action: Json = {"flow_token": value or "unused"}
        if data := values.get(f"{key}.data"):
            action["flow_action_data"] = json.loads(data)
        return {"type": "action", "action": action}
    if not value:
        return None
    if button.is_otp:
        return {"type": "text", "text": value}
    match button.kind:
        case "URL":
            return {"type": "text", "text": encode_link_end(value)}
        case "COPY_CODE":
            return {"type": "coupon_code", "coupon_code": value}
        case "CATALOG":
            return {"type": "action", "action": {"thumbnail_product_retailer_id": value}}
        case "MPM":
            rows = parse_sections(value) or []
            first = rows[0]["product_items"][0]["product_retailer_id"] if rows else ""
            shown = values.get(f"{key}.thumbnail") or first
            return {"type": "action", "action": {"thumbnail_product_retailer_id": shown, "sections": rows}}
        case "QUICK_REPLY":
            return {"type": "payload", "payload": value}
    return None


def encode_link_end(value: str) -> str:
    """Percent-encode the end of a link; existing escapes are kept."""
    return quote(STRAY_PERCENT.sub("%25", value), safe=URL_SAFE)


def _filled(template: TemplateDefinition, text: str, place: VariablePlace, values: Mapping[str, str]) -> str:
    return "".join(
        (values.get(variable_key(piece.name, place)) if isinstance(piece, Placeholder) else "")
        or template.label_piece(piece, place)
        for piece in split_placeholders(text)
    )


def _button(template: TemplateDefinition, index: int, values: Mapping[str, str]) -> RenderedButton:
    button = template.buttons[index]
    value = values.get(f"button.{index}", "")
    if button.kind == "URL":
        end = encode_link_end(value)
        return RenderedButton(
            button.kind, button.text, PLACEHOLDER.sub(lambda placeholder: end or placeholder[0], button.url)
        )
    return RenderedButton(button.kind, button.text, button.phone_number or value)


def _value_problems(template: TemplateDefinition, values: Mapping[str, str], *, text_only: bool) -> Iterator[Problem]:
    for variable in (*template.variables, *template.defaulted_variables):
        value = values.get(variable.key)
        if not value and (not variable.is_required or (text_only and not variable.in_text)):
            if variable.kind is ValueKind.FILENAME and not text_only:
                yield from _nameless(template, variable, values)
            continue
        if found := _problem_of(template, variable, value or ""):
            code, details = found
            title = variable_title(template, variable)
            yield Problem(f"variables.{variable.key}", code, details={"title": title, **details})
    keys = {variable.key for variable in (*template.variables, *template.defaulted_variables)}
    for key, value in values.items():
        if key not in keys:
            yield Problem(f"variables.{key}", "unknown_value", details={"value": value[:60]})


def _problem_of(
    template: TemplateDefinition, variable: Variable, value: str
) -> tuple[str, Mapping[str, str | int]] | None:
    if value == "":
        return "missing", {}
    if placeholder := find_leftover(template, variable, value):
        return "placeholder", {"placeholder": placeholder}
    return check_value(variable.kind, value)


def _nameless(template: TemplateDefinition, variable: Variable, values: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for a document without a name, which WhatsApp would show as “Untitled”."""
    media = values.get(variable.key.replace(HEADER_FILENAME, HEADER_MEDIA), "")
    if media and not file_name_from_link(media) and check_value(ValueKind.MEDIA, media) is None:
        title = variable_title(template, variable)
        yield Problem(f"variables.{variable.key}", "filename_missing", details={"title": title})


def _length_problems(template: TemplateDefinition, rendering: Rendering) -> Iterator[Problem]:
    for component, text, limit in (
        ("header", rendering.header, HEADER_LIMIT),
        ("body", rendering.body, BODY_LIMIT),
    ):
        if len(text) > limit:
            details = {"length": len(text), "limit": limit}
            yield Problem(component, "rendered_too_long", details=details)
    for prefix, each, shown in _with_cards(template, rendering):
        for index, button in enumerate(each.buttons):
            length = len(shown.buttons[index].target)
            if button.takes_value and button.kind == "URL" and length > URL_LIMIT:
                details = {"length": length, "limit": URL_LIMIT}
                yield Problem(f"variables.{prefix}button.{index}", "link_too_long", details=details)
    for number, card in enumerate(rendering.cards):
        if len(card.body) > CARD_BODY_LIMIT:
            details = {"card": number + 1, "length": len(card.body), "limit": CARD_BODY_LIMIT}
            yield Problem(card_key(number, "body"), "card_too_long", details=details)


def _with_cards(
    template: TemplateDefinition, rendering: Rendering
) -> Iterator[tuple[str, TemplateDefinition, Rendering]]:
    yield "", template, rendering
    for number, (card, shown) in enumerate(zip(template.cards, rendering.cards, strict=True)):
        yield card_key(number, ""), card, shown


def _header_parameters(template: TemplateDefinition, values: Mapping[str, str]) -> list[Json]:
    kind = template.header.kind if template.header else ""
    if kind in MEDIA and (media := values.get(HEADER_MEDIA)):
        file = {"link" if is_https_link(media) else "id": media}
        if template.variable(HEADER_FILENAME) and (name := _filename(values)):
            file["filename"] = name
        return [{"type": kind.lower(), kind.lower(): file}]
    if kind == LOCATION and all(values.get(key) for key in HEADER_LOCATION):
        place = {key.removeprefix("header."): values[key] for key in HEADER_LOCATION}
        return [{"type": "location", "location": place}]
    if kind == PRODUCT and values.get(HEADER_PRODUCT) and values.get(HEADER_CATALOG):
        product = {"product_retailer_id": values[HEADER_PRODUCT], "catalog_id": values[HEADER_CATALOG]}
        return [{"type": "product", "product": product}]
    return _text_parameters(template, template.header_text, VariablePlace.HEADER, values)


def _text_parameters(
    template: TemplateDefinition, text: str, place: VariablePlace, values: Mapping[str, str]
) -> list[Json]:
    found: list[Json] = []
    for name in sort_names(find_names(text)):
        row: Json = {"type": "text", "text": values.get(variable_key(name, place), "")}
        found.append(row | ({"parameter_name": name} if template.format is ParameterFormat.NAMED else {}))
    return found
