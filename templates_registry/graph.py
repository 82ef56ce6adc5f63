"""Templates in the shape of the Graph API: ``read`` and ``write``, each the mirror of the other.

Read forgivingly: unknown components and unknown button fields are kept and written back untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from templates_registry.components import (
    HEADER_MEDIA,
    TEXT,
    Button,
    Format,
    Header,
    NotATemplate,
    Place,
    Template,
    Variable,
    described_as,
    in_order,
    is_number,
    key_of,
    names_in,
)

__all__ = ["NotATemplate", "read", "write"]

Json = dict[str, Any]
KNOWN = ("HEADER", "BODY", "FOOTER", "BUTTONS")
BUTTON_FIELDS = ("type", "text", "url", "phone_number", "example")


def read(data: object, *, described: Sequence[Variable] = ()) -> Template:
    """One row of the Graph API's list. ``described`` are the labels, hints… that we gave to its variables."""
    if not isinstance(data, dict) or not isinstance(data.get("components"), list):
        raise NotATemplate("not_a_template")
    known: dict[str, Json] = {}
    others: list[str] = []
    for component in data["components"]:
        if not isinstance(component, dict):
            raise NotATemplate("not_a_template")
        kind = _text(component, "type").upper()
        if kind not in KNOWN:
            others.append(json.dumps(component, ensure_ascii=False, sort_keys=True))
        elif kind in known:
            raise NotATemplate("component_twice", component=kind.lower())
        else:
            known[kind] = component
    header, body = known.get("HEADER"), known.get("BODY", {})
    buttons = known.get("BUTTONS", {}).get("buttons")
    template = Template(
        name=_text(data, "name"),
        language=_text(data, "language"),
        category=_text(data, "category").upper(),
        header=_header(header) if header is not None else None,
        body=_text(body, "text"),
        footer=_text(known.get("FOOTER", {}), "text"),
        buttons=tuple(_button(row) for row in buttons) if isinstance(buttons, list) else (),
        others=tuple(others),
    )
    template = replace(template, format=_format(data, template))
    return described_as(described_as(template, _examples(template, header or {}, body)), described)


def write(template: Template) -> Json:
    """The shape in which a template is handed in for approval, exported and listed."""
    components: list[Json] = []
    header = template.header
    if header and header.kind == TEXT:
        samples = _samples(template, Place.HEADER)
        components.append({"type": "HEADER", "format": TEXT, "text": header.text} | samples)
    elif header:
        sample = {"example": {"header_handle": [header.handle]}} if header.handle else {}
        components.append({"type": "HEADER", "format": header.kind} | sample)
    components.append({"type": "BODY", "text": template.body} | _samples(template, Place.BODY))
    if template.footer:
        components.append({"type": "FOOTER", "text": template.footer})
    if template.buttons:
        rows = [_button_row(template, index) for index in range(len(template.buttons))]
        components.append({"type": "BUTTONS", "buttons": rows})
    components += [json.loads(other) for other in template.others]
    return {
        "name": template.name,
        "language": template.language,
        "category": template.category,
        "parameter_format": template.format.value,
        "components": components,
    }


def _format(data: Json, template: Template) -> Format:
    told = _text(data, "parameter_format").upper()
    if told in tuple(Format):
        return Format(told)
    names = names_in(template.header_text) + names_in(template.body)
    return Format.NAMED if any(not is_number(name) for name in names) else Format.NUMBERED


def _header(row: Json) -> Header:
    handles = _mapping(row, "example").get("header_handle")
    handle = handles[0] if isinstance(handles, list) and handles else handles
    return Header(
        kind=_text(row, "format").upper() or TEXT,
        text=_text(row, "text"),
        handle=handle if isinstance(handle, str) else "",
    )


def _button(row: object) -> Button:
    if not isinstance(row, dict):
        raise NotATemplate("not_a_template")
    extra = {name: value for name, value in row.items() if name not in BUTTON_FIELDS}
    example = row.get("example")
    if isinstance(example, list):
        example = example[0] if example else ""
    return Button(
        kind=_text(row, "type").upper(),
        text=_text(row, "text"),
        url=_text(row, "url"),
        phone_number=_text(row, "phone_number"),
        example=example if isinstance(example, str) else "",
        extra=json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else "",
    )


def _button_row(template: Template, index: int) -> Json:
    button = template.buttons[index]
    row: Json = {"type": button.kind}
    for name in ("text", "url", "phone_number"):
        if value := getattr(button, name):
            row[name] = value
    variable = template.variable(f"button.{index}")
    if example := (variable.example if variable else "") or button.example:
        row["example"] = example if button.kind == "COPY_CODE" else [example]
    return row | (json.loads(button.extra) if button.extra else {})


def _examples(template: Template, header: Json, body: Json) -> list[Variable]:
    """The samples that the provider lists, by variable."""
    found = {HEADER_MEDIA: ""}
    for place, row, text in (
        (Place.HEADER, header, template.header_text),
        (Place.BODY, body, template.body),
    ):
        example = _mapping(row, "example")
        named = example.get(f"{place}_text_named_params")
        for pair in named if isinstance(named, list) else ():
            if isinstance(pair, dict):
                found[key_of(_text(pair, "param_name"), place)] = _text(pair, "example")
        listed = example.get(f"{place}_text")
        if isinstance(listed, list) and listed and isinstance(listed[0], list):
            listed = listed[0]  # a list of lists for the body, and flat in some of the provider's own samples
        for name, value in zip(in_order(names_in(text)), listed if isinstance(listed, list) else (), strict=False):
            found.setdefault(key_of(name, place), value if isinstance(value, str) else "")
    found |= {f"button.{index}": button.example for index, button in enumerate(template.buttons)}
    return [Variable(key, example=example) for key, example in found.items() if example]


def _samples(template: Template, place: Place) -> Json:
    """``example`` of a header or body: a place for every variable, as the provider wants it, or none at all."""
    text = template.header_text if place is Place.HEADER else template.body
    examples = {v.key: v.example for v in template.variables}
    values = {name: examples[key_of(name, place)] for name in in_order(names_in(text))}
    if not any(values.values()):
        return {}
    if template.format is Format.NAMED:
        pairs = [{"param_name": name, "example": value} for name, value in values.items()]
        return {"example": {f"{place}_text_named_params": pairs}}
    listed = list(values.values())
    return {"example": {f"{place}_text": [listed] if place is Place.BODY else listed}}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}
