"""Client data of the public API beyond name, phone and email. Stored and returned exactly as the caller sent it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from bridge.conversations.contact_editing import Editor
from bridge.models import Contact, ContactChange, ContactNote
from channels_setup.codecs.bodies import BadBody

from .base_call import UapiCall
from .identity import MAX_ID_LENGTH
from .parameters import MAX_PERSON_LENGTH, is_given, read_choice, read_flag, read_text
from .ticket_properties import parse_embedded_json

ADDRESS_PARAMETERS = {"country": "client_country", "city": "client_city", "address": "client_address"}
TEXT_FIELDS = ("position", "company_name", "phone_type")
TEXT_LIST_FIELDS = ("emails", "sites")
LIST_FIELDS = ("emails", "messengers", "social_networks", "addresses", "sites")
# Parameters of ``create/ticket``, and of ``create/client`` and ``update/client``.
TICKET_PARAMETERS = ("company_name", "phone_type", "new_address", *ADDRESS_PARAMETERS.values())
CLIENT_PARAMETERS = (*TICKET_PARAMETERS, *LIST_FIELDS, "position", "status", "note", "is_new_note")
MAX_TEXT_LENGTH, MAX_NOTE_LENGTH, MAX_ITEMS, MAX_ITEM_LENGTH = 255, 10_000, 50, 2_000


def update_card(contact: Contact, call: UapiCall, *, names: tuple[str, ...]) -> None:
    """Copy the caller's values to ``contact.card`` without saving. Raises BadBody."""
    card = dict(contact.card)
    for name in TEXT_FIELDS:
        if name in names and (text := _read_text(call, name)):
            card[name] = text
    if "status" in names and (status := read_choice(call.values.get("status"), "status", ["vip", "spammer", "usual"])):
        card["status"] = status
    for name in LIST_FIELDS:
        if name in names and (found := read_items(call, name)):
            card[name] = found
    if address := {field: text for field, name in ADDRESS_PARAMETERS.items() if (text := _read_text(call, name))}:
        before = card.get("addresses", [])
        is_new = read_flag(call.values.get("new_address"), "new_address")
        card["addresses"] = [*before, address][-MAX_ITEMS:] if is_new else [*before[:-1], address]
    contact.card = card


def save_note(contact: Contact, call: UapiCall) -> None:
    """Replace the last note written through the API with ``note``; add another one if ``is_new_note`` is set."""
    text = _read_text(call, "note", longest=MAX_NOTE_LENGTH)
    if not text:
        return
    written = ContactNote.objects.filter(contact=contact, author=None).order_by("-pk")
    last = None if read_flag(call.values.get("is_new_note"), "is_new_note") else written.first()
    if last is None:
        ContactNote.objects.create(contact=contact, text=text)
    elif last.text != text:
        by = Editor(source=ContactChange.Source.PROGRAM, api_channel=call.api_channel)
        by.record(contact, ContactChange.Field.NOTE, last.text, text, last)
        last.text, last.edited_at = text, timezone.now()
        last.save(update_fields=["text", "edited_at"])


def serialize_card(contact: Contact) -> dict[str, Any]:
    """Return the card fields of the ``client`` response that have no database column of their own."""
    notes = contact.notes.filter(author=None).order_by("-pk").values_list("text", flat=True)
    card = contact.card
    return {
        "note": notes.first() or "",
        "position": card.get("position", ""),
        "company_name": card.get("company_name", ""),
        "status": card.get("status", "usual"),
        **{name: card.get(name, []) for name in ("social_networks", "addresses", "sites")},
    }


def _read_text(call: UapiCall, name: str, *, longest: int = MAX_TEXT_LENGTH) -> str:
    return read_text(call.values.get(name), name, longest=longest)


def read_items(call: UapiCall, name: str) -> list[Any]:
    """Read a list of texts or flat objects. A single value counts as a list of one. Raises BadBody."""
    value = parse_embedded_json(call.values.get(name))
    if not is_given(value):
        return []
    if isinstance(value, dict) and all(key.isdigit() for key in value):  # PHP encodes an array with gaps as an object
        value = list(value.values())
    found = [item for item in (value if isinstance(value, list) else [value]) if _is_filled_in(item, name)]
    if len(found) > MAX_ITEMS or any(len(str(item)) > MAX_ITEM_LENGTH for item in found):
        raise BadBody(_("“%(name)s” is too long.") % {"name": name})
    return [_validate_item(item, name) for item in found]


def _is_filled_in(item: Any, name: str) -> bool:
    """Return whether a list item has a value. Forms with one row per messenger leave the identity empty."""
    if name == "messengers" and isinstance(item, dict):
        identities = [item[key] for key in ("identity", "uid") if key in item]
        return not identities or any(map(is_given, identities))
    return is_given(item)


def _validate_item(item: Any, name: str) -> Any:
    if name in TEXT_LIST_FIELDS:
        if isinstance(item, bool | dict | list):
            raise BadBody(_("“%(name)s” must be a list of strings.") % {"name": name})
        return read_text(item, name, longest=MAX_PERSON_LENGTH if name == "emails" else None)
    if name == "messengers":
        return _validate_messenger(item)
    if isinstance(item, bool | list) or (isinstance(item, dict) and not _is_flat(item)):
        raise BadBody(_("“%(name)s” must be a list of strings or of objects with string values.") % {"name": name})
    return item


def _validate_messenger(item: Any) -> Any:
    if not isinstance(item, dict) or not _is_flat(item) or not messenger_identity(item):
        raise BadBody(_("“messengers” must be a list of objects with “type” and “identity”."))
    return item


def messenger_identity(messenger: dict[str, Any]) -> str:
    """Return the ID of a messenger: ``identity``, or ``uid``, which some callers send. Raises BadBody."""
    name = "identity" if is_given(messenger.get("identity")) else "uid"
    return read_text(messenger.get(name), f"messengers.{name}", longest=MAX_ID_LENGTH)


def _is_flat(item: dict[str, Any]) -> bool:
    return not any(isinstance(value, bool | dict | list) and is_given(value) for value in item.values())
