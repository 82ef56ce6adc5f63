"""Values of the additional fields of clients: reading, validation and changes, with the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bridge.models import Contact, ContactChange, ContactField
from channels_setup.prepared_queries import PreparedQuery

from .contact_editing import Editor, InvalidContactData

MAX_LENGTH = 300
PREFIX = "field_"  # of form fields and columns; the field's ID follows
YES = "1"  # the value of a checked box
YES_WORDS = {"1", "yes", "true", "y", "x", "on", "+", "да", "истина"}  # the last one is Excel's TRUE in Russian
CARD_KEY = "fields"  # of ``Contact.card``


ALL_FIELDS: PreparedQuery[ContactField] = PreparedQuery(ContactField.objects.all)


def list_fields() -> list[ContactField]:
    return ALL_FIELDS()


def read_values(contact: Contact) -> dict[str, str]:
    """Return the stored values by field ID as text."""
    stored = contact.card.get(CARD_KEY)
    return {str(key): str(value) for key, value in stored.items()} if isinstance(stored, dict) else {}


def show_values(contact: Contact, fields: Sequence[ContactField]) -> list[tuple[str, str]]:
    """Return title and text of each field with a value."""
    values = read_values(contact)
    found = ((field.name, format_value(field, values.get(str(field.pk), ""))) for field in fields)
    return [(title, text) for title, text in found if text]


def format_value(field: ContactField, value: str) -> str:
    if field.kind == ContactField.Kind.CHECKBOX:
        return _("yes") if value == YES else ""
    return value


def validate_value(field: ContactField, text: str) -> str:
    """Return the value as it is stored. Raises ValueError with a sentence."""
    text = " ".join(text.replace("\0", "").split())
    if field.kind == ContactField.Kind.CHECKBOX:
        return YES if text.casefold() in YES_WORDS else ""
    if len(text) > MAX_LENGTH:
        raise ValueError(_("The value may have at most %(count)d characters.") % {"count": MAX_LENGTH})
    if text and field.kind == ContactField.Kind.CHOICE:
        known = {option.casefold(): option for option in field.options}
        if text.casefold() not in known:
            raise ValueError(_("Choose one of: %(choices)s.") % {"choices": ", ".join(field.options)})
        return known[text.casefold()]
    return text


@transaction.atomic
def edit_fields(
    contact_id: int, values: Mapping[int, str], *, by: Editor, shown: Mapping[int, str] | None = None
) -> list[int]:
    """Change these fields. Return the IDs of those that changed. Raises InvalidContactData.

    ``shown``: the values on the user's screen. A field that another user has changed meanwhile is not overwritten.
    Unknown fields are ignored: an admin has just deleted them.
    """
    if not values:
        return []
    contact = Contact.objects.select_for_update(no_key=True).get(pk=contact_id)
    if contact.erased_at:
        raise InvalidContactData({"": _("This person has been erased.")})
    stored, wrong, changed = read_values(contact), {}, []
    for field in ContactField.objects.filter(pk__in=values):
        key = str(field.pk)
        before = stored.get(key, "")
        try:
            value = validate_value(field, values[field.pk])
        except ValueError as problem:
            wrong[f"{PREFIX}{key}"] = str(problem)
            continue
        if value == before:
            continue
        if shown is not None and shown.get(field.pk, before) != before:
            wrong[f"{PREFIX}{key}"] = _("Another user has changed this to “%(value)s”.") % {
                "value": format_value(field, before)
            }
            continue
        stored[key] = value
        changed.append((field, before, value))
    if wrong:
        raise InvalidContactData(wrong)
    for field, before, value in changed:
        old, new = (f"{field.name}: {format_value(field, text)}" if text else "" for text in (before, value))
        by.record(contact, ContactChange.Field.FIELD, old, new)
    if changed:
        contact.card = {**contact.card, CARD_KEY: {key: value for key, value in stored.items() if value}}
        contact.save(update_fields=["card"])
    return [field.pk for field, _before, _value in changed]


def merge_cards(target: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of a merged contact: the target's values, else those of the source."""
    merged = {**source, **target}
    if fields := {**source.get(CARD_KEY, {}), **target.get(CARD_KEY, {})}:
        merged[CARD_KEY] = fields
    return merged
