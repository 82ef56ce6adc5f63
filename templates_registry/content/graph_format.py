"""Templates in the Graph API's JSON format: parsing and serialization, inverse to each other.

Format: Meta's documentation of ``message_templates``. Unknown components and fields are preserved and written back
unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import authentication
from .components import (
    HEADER_MEDIA,
    TEXT,
    Button,
    Header,
    InvalidTemplate,
    Offer,
    ParameterFormat,
    TemplateDefinition,
    Variable,
    VariablePlace,
    find_names,
    is_numbered,
    merge_descriptions,
    sort_names,
    variable_key,
)
from .slots import card_key, split_card_key

__all__ = ["InvalidTemplate", "parse_template", "serialize_template"]

Json = dict[str, Any]
KNOWN_IN_CARDS = ("HEADER", "BODY", "FOOTER", "BUTTONS")
KNOWN = (*KNOWN_IN_CARDS, "LIMITED_TIME_OFFER", "CAROUSEL")
BUTTON_FIELDS = ("type", "text", "url", "phone_number", "example")
AUTHENTICATION = "AUTHENTICATION"


def parse_template(data: object, *, described: Sequence[Variable] = ()) -> TemplateDefinition:
    """Parse one row of the Graph API's list. ``described``: labels, hints… of its variables in the registry.

    Raises InvalidTemplate if the row is not a template.
    """
    if not isinstance(data, dict) or not isinstance(data.get("components"), list):
        raise InvalidTemplate("not_a_template")
    known, others, order = _sorted_out(data["components"])
    template = _from_components(
        known,
        name=_text(data, "name"),
        language=_text(data, "language"),
        category=_text(data, "category").upper(),
        others=others,
        order=order,
    )
    template = replace(template, format=_format(data, template))
    if cards := _cards(known.get("CAROUSEL"), template.format):
        template = replace(template, cards=cards)
    examples = _examples(template, known.get("HEADER", {}), known.get("BODY", {}))
    return merge_descriptions(merge_descriptions(template, examples), described)


def _sorted_out(
    components: Sequence[object], names: Sequence[str] = KNOWN
) -> tuple[dict[str, Json], tuple[str, ...], tuple[str, ...]]:
    """Return known components by type, unknown ones as JSON, and the types in their order."""
    known: dict[str, Json] = {}
    others: list[str] = []
    order: list[str] = []
    for component in components:
        if not isinstance(component, dict):
            raise InvalidTemplate("not_a_template")
        kind = _text(component, "type").upper()
        order.append(kind)
        if kind not in names or (kind == "CAROUSEL" and not _is_carousel(component)):
            others.append(json.dumps(component, ensure_ascii=False, sort_keys=True))
        elif kind in known:
            raise InvalidTemplate("component_twice", component=kind.lower())
        else:
            known[kind] = component
    return known, tuple(others), tuple(order)


def _from_components(known: Mapping[str, Json], *, language: str, category: str, **fields: Any) -> TemplateDefinition:
    header, body, footer = known.get("HEADER"), known.get("BODY", {}), known.get("FOOTER", {})
    offer = known.get("LIMITED_TIME_OFFER")
    rows = known.get("BUTTONS", {}).get("buttons")
    buttons = tuple(_button(row) for row in rows) if isinstance(rows, list) else ()
    is_worded = bool(_text(body, "text"))
    is_for_codes = not is_worded and (
        any(button.is_otp for button in buttons) or (category == AUTHENTICATION and "BODY" in known)
    )
    minutes = footer.get("code_expiration_minutes")
    return TemplateDefinition(
        language=language,
        category=category,
        header=_header(header) if header is not None else None,
        body=authentication.build_body(language, with_advice=body.get("add_security_recommendation") is True)
        if is_for_codes
        else _text(body, "text"),
        has_standard_body=is_for_codes,
        body_extra=_extra(body, "type", "text", "example"),
        footer=_text(footer, "text") or (authentication.build_footer(language, minutes) if minutes else ""),
        has_standard_footer=bool(minutes) and not _text(footer, "text"),
        footer_extra=_extra(footer, "type", "text"),
        buttons=buttons,
        offer=_offer(offer) if offer is not None else None,
        **fields,
    )


def _is_carousel(component: Json) -> bool:
    cards = component.get("cards")
    return (
        isinstance(cards, list)
        and bool(cards)
        and all(isinstance(card, dict) and isinstance(card.get("components"), list) for card in cards)
    )


def _cards(carousel: Json | None, form: ParameterFormat) -> tuple[TemplateDefinition, ...]:
    return tuple(_card(row, form) for row in carousel["cards"]) if carousel else ()


def _card(row: Json, form: ParameterFormat) -> TemplateDefinition:
    known, others, order = _sorted_out(row["components"], KNOWN_IN_CARDS)
    card = _from_components(
        known, name="", language="", category="", others=others, order=order, extra=_extra(row, "components")
    )
    card = replace(card, format=form)
    return merge_descriptions(card, _examples(card, known.get("HEADER", {}), known.get("BODY", {})))


def serialize_template(template: TemplateDefinition) -> Json:
    """Return the format in which a template is submitted for approval, exported and listed."""
    return {
        "name": template.name,
        "language": template.language,
        "category": template.category,
        "parameter_format": template.format.value,
        "components": _components(template),
    }


def _components(template: TemplateDefinition, *, is_card: bool = False) -> list[Json]:
    components: list[Json] = []
    header, offer = template.header, template.offer
    if header and header.kind == TEXT:
        samples = _samples(template, VariablePlace.HEADER)
        components.append({"type": "HEADER", "format": TEXT, "text": header.text} | samples | _unpacked(header.extra))
    elif header:
        sample = {"example": {"header_handle": [header.handle]}} if header.handle else {}
        components.append({"type": "HEADER", "format": header.kind} | sample | _unpacked(header.extra))
    if offer:
        components.append({"type": "LIMITED_TIME_OFFER"} | _offer_row(offer))
    if _has_body(template, is_card=is_card):
        is_worded = bool(template.body or not template.order) and not template.has_standard_body
        text = {"text": template.body} | _samples(template, VariablePlace.BODY) if is_worded else {}
        components.append({"type": "BODY"} | text | _unpacked(template.body_extra))
    if template.footer:
        text = {} if template.has_standard_footer else {"text": template.footer}
        components.append({"type": "FOOTER"} | text | _unpacked(template.footer_extra))
    if template.buttons:
        rows = [_button_row(template, index) for index in range(len(template.buttons))]
        components.append({"type": "BUTTONS", "buttons": rows})
    if template.cards:
        components.append({"type": "CAROUSEL", "cards": [_card_row(template, at) for at in range(len(template.cards))]})
    components += [json.loads(other) for other in template.others]
    return _in_order(components, template.order)


def _has_body(template: TemplateDefinition, *, is_card: bool) -> bool:
    own_words = bool(template.body) and not template.has_standard_body
    return own_words or "BODY" in template.order or not (is_card or template.order)


def _in_order(components: list[Json], order: Sequence[str]) -> list[Json]:
    """Restore the provider's order, unless a component has been added since."""
    if not {component_type(each) for each in components} <= set(order):
        return components
    return sorted(components, key=lambda each: order.index(component_type(each)))


def component_type(component: Mapping[str, Any]) -> str:
    """Return the type of a component in uppercase, or ""."""
    return _text(component, "type").upper()


def _card_row(template: TemplateDefinition, number: int) -> Json:
    """Serialize a card, with the examples that the registry has for its variables."""
    card = template.cards[number]
    own = [(split_card_key(variable.key), variable) for variable in template.variables]
    described = [replace(variable, key=key) for (at, key), variable in own if at == number]
    components = _components(merge_descriptions(card, described), is_card=True)
    return _unpacked(card.extra) | {"components": components}


def _format(data: Json, template: TemplateDefinition) -> ParameterFormat:
    declared = _text(data, "parameter_format").upper()
    if declared in tuple(ParameterFormat):
        return ParameterFormat(declared)
    names = find_names(template.header_text) + find_names(template.body)
    return ParameterFormat.NAMED if any(not is_numbered(name) for name in names) else ParameterFormat.NUMBERED


def _header(row: Json) -> Header:
    handles = _mapping(row, "example").get("header_handle")
    handle = handles[0] if isinstance(handles, list) and handles else handles
    return Header(
        kind=_text(row, "format").upper() or TEXT,
        text=_text(row, "text"),
        handle=handle if isinstance(handle, str) else "",
        extra=_extra(row, "type", "format", "text", "example"),
    )


def _offer(row: Json) -> Offer:
    offer = _mapping(row, "limited_time_offer")
    has_expiration = offer.get("has_expiration") is True
    return Offer(text=_text(offer, "text"), has_expiration=has_expiration, extra=_extra(row, "type"))


def _offer_row(offer: Offer) -> Json:
    content = {"text": offer.text, "has_expiration": offer.has_expiration}
    return _unpacked(offer.extra) or {"limited_time_offer": content}


def _button(row: object) -> Button:
    if not isinstance(row, dict):
        raise InvalidTemplate("not_a_template")
    example = row.get("example")
    if isinstance(example, list):
        example = example[0] if example else ""
    return Button(
        kind=_text(row, "type").upper(),
        text=_text(row, "text"),
        url=_text(row, "url"),
        phone_number=_text(row, "phone_number"),
        example=example if isinstance(example, str) else "",
        extra=_extra(row, *BUTTON_FIELDS),
    )


def _button_row(template: TemplateDefinition, index: int) -> Json:
    button = template.buttons[index]
    row: Json = {"type": button.kind}
    for name in ("text", "url", "phone_number"):
        if value := getattr(button, name):
            row[name] = value
    variable = template.variable(f"button.{index}") if button.takes_value else None
    if example := (variable.example if variable else "") or button.example:
        row["example"] = example if button.kind == "COPY_CODE" else [example]
    return row | _unpacked(button.extra)


def _examples(template: TemplateDefinition, header: Json, body: Json) -> list[Variable]:
    """Collect the provider's examples by variable."""
    found = {HEADER_MEDIA: ""}
    for place, row, text in (
        (VariablePlace.HEADER, header, template.header_text),
        (VariablePlace.BODY, body, template.body),
    ):
        example = _mapping(row, "example")
        named = example.get(f"{place}_text_named_params")
        for pair in named if isinstance(named, list) else ():
            if isinstance(pair, dict):
                found[variable_key(_text(pair, "param_name"), place)] = _text(pair, "example")
        positional = example.get(f"{place}_text")
        if isinstance(positional, list) and positional and isinstance(positional[0], list):
            positional = positional[0]  # a list of lists for the body, but flat in some of Meta's own samples
        for name, value in zip(
            sort_names(find_names(text)), positional if isinstance(positional, list) else (), strict=False
        ):
            found.setdefault(variable_key(name, place), value if isinstance(value, str) else "")
    found |= {f"button.{index}": button.example for index, button in enumerate(template.buttons)}
    for number, card in enumerate(template.cards):
        found |= {card_key(number, variable.key): variable.example for variable in card.variables}
    return [Variable(key, example=example) for key, example in found.items() if example]


def _samples(template: TemplateDefinition, place: VariablePlace) -> Json:
    """Return ``example`` of a header or body: the provider wants an entry for every variable, or no ``example``."""
    text = template.header_text if place is VariablePlace.HEADER else template.body
    examples = {v.key: v.example for v in template.variables}
    values = {name: examples[variable_key(name, place)] for name in sort_names(find_names(text))}
    if not any(values.values()):
        return {}
    if template.format is ParameterFormat.NAMED:
        pairs = [{"param_name": name, "example": value} for name, value in values.items()]
        return {"example": {f"{place}_text_named_params": pairs}}
    positional = list(values.values())
    return {"example": {f"{place}_text": [positional] if place is VariablePlace.BODY else positional}}


def _extra(row: Mapping[str, Any], *known: str) -> str:
    """Return the other fields of a row as JSON; empty if there are none."""
    extra = {name: value for name, value in row.items() if name not in known}
    return json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else ""


def _unpacked(extra: str) -> Json:
    return dict(json.loads(extra)) if extra else {}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}
