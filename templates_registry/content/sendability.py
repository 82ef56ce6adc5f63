"""Parts of a template that Okno cannot send. Such templates are not offered, because the provider would refuse them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from . import graph_format
from .components import InvalidTemplate, Problem, TemplateDefinition
from .slots import BARE_COMPONENTS, BUTTONS, HEADERS, card_key

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

CANNOT = _("Cannot be sent from Okno: %(parts)s.")
UNREADABLE, NO_TEXT = "part_unreadable", "part_text"
NEEDED_AS_TEXT = (UNREADABLE, NO_TEXT)  # problems even for providers that take only the text


def find_missing_parts(template: TemplateDefinition) -> list[Problem]:
    """Return the parts that no value can complete; empty if the template can be sent."""
    found = list(_parts(template))
    if not template.body.strip():
        found.insert(0, Problem("body", NO_TEXT))
    return found


def _parts(template: TemplateDefinition, card: int | None = None) -> Iterator[Problem]:
    prefix = "" if card is None else card_key(card, "")
    where: dict[str, Any] = {} if card is None else {"card": card + 1}
    in_card = "" if card is None else "_of_card"
    header = template.header
    if header and header.kind not in HEADERS:
        yield Problem(f"{prefix}header", f"part_header{in_card}", details={"kind": header.kind, **where})
    for index, button in enumerate(template.buttons):
        if button.kind not in BUTTONS:
            details = {"number": index + 1, "kind": button.kind or "?", **where}
            yield Problem(f"{prefix}button.{index}", f"part_button{in_card}", details=details)
    for other in template.others:
        kind = str(json.loads(other).get("type") or "?").upper()
        if kind not in BARE_COMPONENTS:
            yield Problem(f"{prefix}components", f"part_component{in_card}", details={"kind": kind, **where})
    for number, each in enumerate(template.cards):
        if each.header is None and not each.body:
            yield Problem(card_key(number, "header"), "part_card", details={"card": number + 1})
        yield from _parts(each, number)


def serialize_missing_parts(row: object) -> list[dict[str, Any]]:
    """Return the missing parts of a template in the Graph API's format, as JSON to store with the template."""
    try:
        found = find_missing_parts(graph_format.parse_template(row))
    except InvalidTemplate:
        found = [Problem("components", UNREADABLE)]
    return [{"field": one.field, "code": one.code, "details": dict(one.details)} for one in found]


def load_missing_parts(rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    return [Problem(row["field"], row["code"], details=row["details"]) for row in rows]


def _join(problems: Sequence[Problem]) -> str:
    return "; ".join(str(one.sentence) for one in problems)


def _describe(problems: Sequence[Problem]) -> str:
    return str(CANNOT) % {"parts": _join(problems)}


_join_lazily, _describe_lazily = lazy(_join, str), lazy(_describe, str)


def list_missing_parts(problems: Sequence[Problem]) -> StrOrPromise:
    """Return the sentences of the missing parts, lazily in the reader's language."""
    return _join_lazily(problems)


def describe_missing_parts(problems: Sequence[Problem]) -> StrOrPromise:
    """Return “Cannot be sent from Okno: …”, or "" if nothing is missing."""
    return _describe_lazily(problems) if problems else ""
