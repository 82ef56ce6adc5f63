"""Readers of request properties in calls of the public API: subject, priority, tags, additional fields, group."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext as _

from bridge.models import Ticket, TicketField
from bridge.ticket_properties import LONGEST_TAG
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody

from .base_call import UapiCall
from .errors import NOT_FOUND, UapiError
from .parameters import is_given, is_null, read_choice

MAX_TEXT_LENGTH = 255  # the limit that Usedesk documents
PROPERTY_PARAMETERS = (
    "subject",
    "additional_id",
    "priority",
    "type",
    "tag",
    "tags",
    "field_id",
    "field_value",
    "custom_fields",
)


def read_properties(call: UapiCall) -> dict[str, Any]:
    """Return the given properties for ``bridge.ticket_properties``. Raises BadBody and UapiError."""
    found: dict[str, Any] = {}
    for name in ("subject", "additional_id"):
        if text := _read_text(call.values.get(name), name, longest=MAX_TEXT_LENGTH):
            found[name] = text
    for name, choices in (("priority", Ticket.Priority.values), ("type", Ticket.Type.values)):
        if (choice := read_choice(call.values.get(name), name, choices)) is not None:
            found[name] = choice
    whole = parse_embedded_json(call.values.get("tags"))
    if isinstance(whole, list) or is_given(whole):  # an empty list removes all tags, an empty text does not
        found["tags"] = read_tags(whole, "tags")
    if added := read_tags(call.values.get("tag"), "tag"):
        found["add_tags"] = added
    if fields := _read_fields(call):
        found["fields"] = fields
    return found


def _read_text(value: Any, name: str, *, longest: int | None = None) -> str:
    if isinstance(value, bool | dict | list):
        raise BadBody(_("“%(name)s” must be text.") % {"name": name})
    text = values.as_text(value).strip()
    if longest is not None and len(text) > longest:
        raise BadBody(_("“%(name)s” can have at most %(most)d characters.") % {"name": name, "most": longest})
    return text


def read_tags(value: Any, name: str) -> list[str]:
    """Read tags from a comma-separated text, a list, or a list as JSON text. Raises BadBody."""
    value = parse_embedded_json(value) if is_given(value) else None
    items = value if isinstance(value, list) else _read_text(value, name).split(",") if value is not None else []
    found = [" ".join(_read_text(item, name).split()) for item in items]
    if any(len(tag) > LONGEST_TAG for tag in found):
        raise BadBody(_("“%(name)s” can have at most %(most)d characters.") % {"name": name, "most": LONGEST_TAG})
    return [tag for tag in found if tag]


def parse_embedded_json(value: Any) -> Any:
    """Decode a list or object that a form call sends as JSON text; return other values unchanged."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _read_fields(call: UapiCall) -> dict[int, str]:
    pairs = [*_pair_numbered_fields(call.values.get("field_id"), call.values.get("field_value"))]
    pairs += _pair_named_fields(parse_embedded_json(call.values.get("custom_fields")))
    if not pairs:
        return {}
    known = {field.pk: field for field in TicketField.objects.all()}
    by_name = {field.name.casefold(): field for field in known.values()}
    found: dict[int, str] = {}
    for key, value in pairs:
        name = values.as_text(key).strip()
        field = by_name.get(name.casefold())
        if name.isascii() and name.isdigit():
            field = known.get(int(name[:18]), field)
        if field is None:
            sentence = _("Additional field “%(name)s” does not exist. An admin adds fields under Additional fields.")
            raise UapiError(NOT_FOUND, sentence % {"name": name[:60]})
        found[field.pk] = _read_field_value(field, value)
    return found


def _pair_numbered_fields(ids: Any, field_values: Any) -> list[tuple[Any, Any]]:
    """Pair ``field_id`` with ``field_value``: two lists, or two semicolon-separated texts. Raises BadBody."""
    if not is_given(ids):
        if is_given(field_values):
            raise BadBody(_("“field_id” is missing."))
        return []
    keys = ids if isinstance(ids, list) else [part.strip() for part in values.as_text(ids).split(";")]
    if isinstance(field_values, list):
        parts: list[Any] = field_values
    elif len(keys) == 1:
        parts = [field_values]  # the value of a single field may contain semicolons
    else:
        parts = values.as_text(field_values).split(";")
    if len(keys) != len(parts):
        raise BadBody(_("“field_id” and “field_value” must have the same number of items."))
    return list(zip(keys, parts, strict=True))


def _pair_named_fields(fields: Any) -> list[tuple[Any, Any]]:
    """Pair fields and values of ``custom_fields``: an object by ID or name, or a list of {id, value}."""
    if fields in (None, "", [], {}):
        return []
    if isinstance(fields, dict):
        return list(fields.items())
    if isinstance(fields, list) and all(isinstance(item, dict) for item in fields):
        return [
            (item.get("ticket_field_id") or item.get("id") or item.get("name"), item.get("value")) for item in fields
        ]
    raise BadBody(_("“custom_fields” must be an object, or a list of objects with “id” and “value”."))


def _read_field_value(field: TicketField, value: Any) -> str:
    """Return the value as it is stored; "" clears the field. Raises BadBody."""
    if field.kind == TicketField.Kind.CHECKBOX:
        word = "true" if value is True else "false" if value is False else values.as_text(value).strip().lower()
        if word in ("", "null"):
            return ""
        if word not in ("true", "false", "1", "0"):
            raise BadBody(_("Additional field %(id)d is a checkbox: send true or false.") % {"id": field.pk})
        return "true" if word in ("true", "1") else "false"
    if value is None or (isinstance(value, str) and value.strip().lower() == "null"):
        return ""
    return _read_text(value, "field_value", longest=MAX_TEXT_LENGTH)


def read_group(call: UapiCall, chat_channel_id: int, name: str = "group_id") -> bool | None:
    """Return whether to assign the request to its group; None if the parameter is missing. Raises UapiError.

    A group is the operators of one chat channel and has the channel's ID. A request can go only to its own group.
    """
    value = call.values.get(name, "")
    if value == "":
        return None
    if is_null(value):
        return False
    number = values.parse_id(value, name)
    if number == chat_channel_id:
        return True
    sentence = _(
        "Group %(id)s does not exist for this request. Its only group is %(own)s, the operators of its chat channel."
    )
    raise UapiError(NOT_FOUND, sentence % {"id": number, "own": chat_channel_id})
