"""What callers of the public API tell of a client beyond name, phone and e-mail: kept as told, given back as told."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from bridge.conversations.contact_editing import Editor
from bridge.models import Contact, ContactChange, ContactNote
from channels_setup.codecs.bodies import BadBody

from .base import Call
from .identity import LONGEST_ID
from .parameters import LONGEST_PERSON, as_choice, as_flag, as_plain_text, is_given
from .ticket_properties import from_json

ADDRESS = {"country": "client_country", "city": "client_city", "address": "client_address"}
TEXTS = ("position", "company_name", "phone_type")
LISTS_OF_TEXTS = ("emails", "sites")
LISTS = ("emails", "messengers", "social_networks", "addresses", "sites")
# Parameters of ``create/ticket``, and of ``create/client`` and ``update/client``.
IN_TICKETS = ("company_name", "phone_type", "new_address", *ADDRESS.values())
IN_CLIENTS = (*IN_TICKETS, *LISTS, "position", "status", "note", "is_new_note")
LONGEST_TEXT, LONGEST_NOTE, MOST_ITEMS, LONGEST_ITEM = 255, 10_000, 50, 2_000


def write(contact: Contact, call: Call, *, names: tuple[str, ...]) -> None:
    """Put what the caller told onto the card, unsaved. Raises BadBody."""
    card = dict(contact.card)
    for name in TEXTS:
        if name in names and (text := _text(call, name)):
            card[name] = text
    if "status" in names and (status := as_choice(call.values.get("status"), "status", ["vip", "spammer", "usual"])):
        card["status"] = status
    for name in LISTS:
        if name in names and (found := items(call, name)):
            card[name] = found
    if address := {field: text for field, name in ADDRESS.items() if (text := _text(call, name))}:
        before = card.get("addresses", [])
        is_new = as_flag(call.values.get("new_address"), "new_address")
        card["addresses"] = [*before, address][-MOST_ITEMS:] if is_new else [*before[:-1], address]
    contact.card = card


def write_note(contact: Contact, call: Call) -> None:
    """``note`` replaces the last note that a program wrote; with ``is_new_note`` it is added to the others."""
    text = _text(call, "note", longest=LONGEST_NOTE)
    if not text:
        return
    written = ContactNote.objects.filter(contact=contact, author=None).order_by("-pk")
    last = None if as_flag(call.values.get("is_new_note"), "is_new_note") else written.first()
    if last is None:
        ContactNote.objects.create(contact=contact, text=text)
    elif last.text != text:
        by = Editor(source=ContactChange.Source.PROGRAM, api_channel=call.api_channel)
        by.record(contact, ContactChange.Field.NOTE, last.text, text, last)
        last.text, last.edited_at = text, timezone.now()
        last.save(update_fields=["text", "edited_at"])


def shown(contact: Contact) -> dict[str, Any]:
    """The card as ``client`` answers it, without the fields that have columns of their own."""
    notes = contact.notes.filter(author=None).order_by("-pk").values_list("text", flat=True)
    card = contact.card
    return {
        "note": notes.first() or "",
        "position": card.get("position", ""),
        "company_name": card.get("company_name", ""),
        "status": card.get("status", "usual"),
        **{name: card.get(name, []) for name in ("social_networks", "addresses", "sites")},
    }


def _text(call: Call, name: str, *, longest: int = LONGEST_TEXT) -> str:
    return as_plain_text(call.values.get(name), name, longest=longest)


def items(call: Call, name: str) -> list[Any]:
    """Read a list of texts or flat objects; one alone is a list of one. Raises BadBody for what is neither."""
    value = from_json(call.values.get(name))
    if not is_given(value):
        return []
    if isinstance(value, dict) and all(key.isdigit() for key in value):  # a PHP array with gaps
        value = list(value.values())
    found = [item for item in (value if isinstance(value, list) else [value]) if _asks_for_something(item, name)]
    if len(found) > MOST_ITEMS or any(len(str(item)) > LONGEST_ITEM for item in found):
        raise BadBody(_("“%(name)s” is too long.") % {"name": name})
    return [_item(item, name) for item in found]


def _asks_for_something(item: Any, name: str) -> bool:
    """Tell a value from an empty one. Forms with a fixed row for each messenger leave the identity empty."""
    if name == "messengers" and isinstance(item, dict):
        identities = [item[key] for key in ("identity", "uid") if key in item]
        return not identities or any(map(is_given, identities))
    return is_given(item)


def _item(item: Any, name: str) -> Any:
    if name in LISTS_OF_TEXTS:
        if isinstance(item, bool | dict | list):
            raise BadBody(_("“%(name)s” must be a list of texts.") % {"name": name})
        return as_plain_text(item, name, longest=LONGEST_PERSON if name == "emails" else None)
    if name == "messengers":
        return _messenger(item)
    if isinstance(item, bool | list) or (isinstance(item, dict) and not _is_flat(item)):
        raise BadBody(_("“%(name)s” must be a list of texts or of objects with texts.") % {"name": name})
    return item


def _messenger(item: Any) -> Any:
    if not isinstance(item, dict) or not _is_flat(item) or not identity_of(item):
        raise BadBody(_("“messengers” must be a list of objects with “type” and “identity”."))
    return item


def identity_of(messenger: dict[str, Any]) -> str:
    """Return the id in a messenger; some callers write ``uid``. Raises BadBody for one that cannot be kept."""
    name = "identity" if is_given(messenger.get("identity")) else "uid"
    return as_plain_text(messenger.get(name), f"messengers.{name}", longest=LONGEST_ID)


def _is_flat(item: dict[str, Any]) -> bool:
    return not any(isinstance(value, bool | dict | list) and is_given(value) for value in item.values())
