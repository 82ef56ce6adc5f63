"""Parsing of the posted template form into a ``TemplateDefinition``. Incomplete forms are parsed, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from channels_setup.codecs.values import parse_whole_number
from templates_registry.content.components import (
    TEXT,
    Button,
    Header,
    ParameterFormat,
    TemplateDefinition,
    Variable,
    find_names,
    is_numbered,
)
from templates_registry.content.validation import BUTTONS_LIMIT

VARIABLE_FIELDS = ("label", "example", "hint", "default")
MAX_VARIABLES = 200


def parse_definition(data: Mapping[str, Any], *, stored: TemplateDefinition | None) -> TemplateDefinition:
    """Parse a posted form. ``stored`` is the saved template; parts that the form does not show are taken from it."""
    fields = {name: str(data.get(name) or "") for name in ("name", "language", "category", "header_text", "footer")}
    body = str(data.get("body") or "").replace("\r\n", "\n")
    header = _parse_header(str(data.get("header_kind") or ""), fields["header_text"].strip(), stored)
    names = find_names(body) + (find_names(header.text) if header else [])
    variables = _parse_variables(data)
    buttons = []
    for index, (button, origin) in enumerate(parse_buttons(data)):
        variable = variables.get(f"button.{index}")
        button = replace(button, example=variable.example if variable else "")
        buttons.append(_keep_button_extra(button, origin, stored))
    return TemplateDefinition(
        name=(fields["name"] or (stored.name if stored else "")).strip(),
        language=fields["language"] or (stored.language if stored else ""),
        category=fields["category"] or (stored.category if stored else ""),
        header=header,
        body=body.strip("\n") if not (stored and stored.has_standard_body) else stored.body,
        footer=fields["footer"].strip(),
        buttons=tuple(buttons[:BUTTONS_LIMIT]),
        format=ParameterFormat.NAMED if any(not is_numbered(name) for name in names) else ParameterFormat.NUMBERED,
        described=tuple(variables.values()),
        requested_category=stored.requested_category if stored and fields["category"] in ("", stored.category) else "",
        **_stored_parts(stored, footer=fields["footer"].strip()),
    )


def _stored_parts(stored: TemplateDefinition | None, *, footer: str) -> dict[str, Any]:
    """Return the parts of the stored template that the form does not show."""
    if stored is None:
        return {}
    has_same_footer = footer == stored.footer
    return {
        "others": stored.others,
        "offer": stored.offer,
        "cards": stored.cards,
        "has_standard_body": stored.has_standard_body,
        "has_standard_footer": stored.has_standard_footer and has_same_footer,
        "body_extra": stored.body_extra,
        "footer_extra": stored.footer_extra if has_same_footer else "",
        "order": stored.order,
    }


def _parse_header(kind: str, text: str, stored: TemplateDefinition | None) -> Header | None:
    if not kind:
        return None
    header = stored.header if stored and stored.header and stored.header.kind == kind else Header(kind=kind)
    return replace(header, text=text if kind == TEXT else "")


def parse_buttons(data: Mapping[str, Any]) -> Iterator[tuple[Button, str]]:
    """Yield each posted button with its origin: its index among the stored buttons, or an empty string."""
    for index in range(BUTTONS_LIMIT + 1):
        row = {
            name: str(data.get(f"buttons-{index}-{name}") or "").strip()
            for name in ("kind", "text", "url", "phone_number", "origin")
        }
        kind = row["kind"]
        if not kind:
            continue
        url = row["url"] if kind == "URL" else ""
        phone = row["phone_number"] if kind == "PHONE_NUMBER" else ""
        yield Button(kind, text=row["text"], url=url, phone_number=phone), row["origin"]


def _keep_button_extra(button: Button, origin: str, stored: TemplateDefinition | None) -> Button:
    """Copy the provider's extra data of the stored button to the posted one."""
    index = parse_whole_number(origin)
    if stored is None or index is None or index >= len(stored.buttons):
        return button
    original = stored.buttons[index]
    return replace(button, extra=original.extra) if original.kind == button.kind else button


def _parse_variables(data: Mapping[str, Any]) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    index = 0
    while (key := data.get(f"variables-{index}-key")) and index < MAX_VARIABLES:
        row = {name: str(data.get(f"variables-{index}-{name}") or "").strip() for name in VARIABLE_FIELDS}
        found[str(key)] = Variable(
            str(key), label=row["label"], example=row["example"], hint=row["hint"], default=row["default"]
        )
        index += 1
    return found
