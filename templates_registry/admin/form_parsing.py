"""What a posted template form says, finished or not: the way back from its fields and rows to a pattern."""

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


def parse_definition(data: Mapping[str, Any], *, kept: TemplateDefinition | None) -> TemplateDefinition:
    """What a posted form says, be it finished or not. ``kept``: the template as it is stored."""
    told = {name: str(data.get(name) or "") for name in ("name", "language", "category", "header_text", "footer")}
    body = str(data.get("body") or "").replace("\r\n", "\n")
    header = _parse_header(str(data.get("header_kind") or ""), told["header_text"].strip(), kept)
    names = find_names(body) + (find_names(header.text) if header else [])
    variables = _parse_variables(data)
    buttons = []
    for index, (button, origin) in enumerate(parse_buttons(data)):
        variable = variables.get(f"button.{index}")
        button = replace(button, example=variable.example if variable else "")
        buttons.append(_keep_button_extra(button, origin, kept))
    return TemplateDefinition(
        name=(told["name"] or (kept.name if kept else "")).strip(),
        language=told["language"] or (kept.language if kept else ""),
        category=told["category"] or (kept.category if kept else ""),
        header=header,
        body=body.strip("\n") if not (kept and kept.has_standard_body) else kept.body,
        footer=told["footer"].strip(),
        buttons=tuple(buttons[:BUTTONS_LIMIT]),
        format=ParameterFormat.NAMED if any(not is_numbered(name) for name in names) else ParameterFormat.NUMBERED,
        described=tuple(variables.values()),
        requested_category=kept.requested_category if kept and told["category"] in ("", kept.category) else "",
        **_stored_parts(kept, footer=told["footer"].strip()),
    )


def _stored_parts(kept: TemplateDefinition | None, *, footer: str) -> dict[str, Any]:
    """What the form does not show goes on with the template as it is."""
    if kept is None:
        return {}
    has_kept_footer = footer == kept.footer
    return {
        "others": kept.others,
        "offer": kept.offer,
        "cards": kept.cards,
        "has_standard_body": kept.has_standard_body,
        "has_standard_footer": kept.has_standard_footer and has_kept_footer,
        "body_extra": kept.body_extra,
        "footer_extra": kept.footer_extra if has_kept_footer else "",
        "order": kept.order,
    }


def _parse_header(kind: str, text: str, kept: TemplateDefinition | None) -> Header | None:
    if not kind:
        return None
    former = kept.header if kept else None
    same = former if former and former.kind == kind else Header(kind=kind)
    return Header(kind=kind, text=text if kind == TEXT else "", handle=same.handle, extra=same.extra)


def parse_buttons(data: Mapping[str, Any]) -> Iterator[tuple[Button, str]]:
    for index in range(BUTTONS_LIMIT + 1):
        said = {
            name: str(data.get(f"buttons-{index}-{name}") or "").strip()
            for name in ("kind", "text", "url", "phone_number", "origin")
        }
        kind = said["kind"]
        if not kind:
            continue
        url = said["url"] if kind == "URL" else ""
        phone = said["phone_number"] if kind == "PHONE_NUMBER" else ""
        yield Button(kind, text=said["text"], url=url, phone_number=phone), said["origin"]


def _keep_button_extra(button: Button, origin: str, kept: TemplateDefinition | None) -> Button:
    """What the provider said of this button besides goes on with it."""
    place = parse_whole_number(origin)
    if kept is None or place is None or place >= len(kept.buttons):
        return button
    former = kept.buttons[place]
    return replace(button, extra=former.extra) if former.kind == button.kind else button


def _parse_variables(data: Mapping[str, Any]) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    index = 0
    while (key := data.get(f"variables-{index}-key")) and index < MAX_VARIABLES:
        said = {name: str(data.get(f"variables-{index}-{name}") or "").strip() for name in VARIABLE_FIELDS}
        found[str(key)] = Variable(
            str(key), label=said["label"], example=said["example"], hint=said["hint"], default=said["default"]
        )
        index += 1
    return found
