"""Contact editing: name, phone, email and notes, with a history of changes.

Editing never changes the address that messages are sent to. If that is the phone itself, the provider's ID is set to
the old phone before the new one is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db import transaction
from django.utils.translation import gettext as _

from bridge import phone_visibility, service_window
from bridge.fanout import helpdesk_messages
from bridge.models import Contact, ContactChange, ContactNote, Conversation, Message
from channels_setup.codecs.phone_numbers import UNVERIFIED, format_wire_phone, phone_key
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ApiChannel

from . import receiving

EDITABLE_FIELDS = ("name", "phone", "email")
LONGEST_NAME, LONGEST_EMAIL, LONGEST_NOTE = 200, 200, 2_000
MAX_TAGS, MAX_TAG_LENGTH = 20, 40  # that users can add; helpdesks may set more
validate_email = EmailValidator()


class InvalidContactData(Exception):
    """Some values are not valid. ``fields``: field name -> sentence for the user."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = dict(fields)


@dataclass(frozen=True, kw_only=True)
class Editor:
    """Author of a change: a user, or a program of an API channel."""

    source: str
    user: Any = None
    api_channel: ApiChannel | None = None

    def record(self, contact: Contact, field: str, old: str, new: str, note: ContactNote | None = None) -> None:
        ContactChange.objects.create(
            contact=contact,
            field=field,
            old=old,
            new=new,
            note=note,
            by=self.user,
            api_channel=self.api_channel,
            source=self.source,
        )


# --- contact card --------------------------------------------------------------------------------------------


@transaction.atomic
def edit_contact(
    contact_id: int, values: Mapping[str, str], *, by: Editor, shown: Mapping[str, str] | None = None
) -> list[str]:
    """Change the given fields. Return the names of those that changed. Raises InvalidContactData.

    ``shown``: the values on the user's screen. A field that another user has changed meanwhile is not overwritten.
    """
    contact = Contact.objects.select_for_update(no_key=True).get(pk=contact_id)
    if contact.erased_at:
        raise InvalidContactData({"": _("This person has been erased.")})
    new_values = validate_card(_drop_masked_values(contact, values))
    shown = _restore_masked_values(contact, shown or {})
    changed = {name: value for name, value in new_values.items() if not _is_same(name, getattr(contact, name), value)}
    conflicts = {
        name: _("Another user has changed this to “%(value)s”.")
        % {"value": phone_visibility.visible_id(getattr(contact, name), contact.api_channel_id)}
        for name in changed
        if name in shown and shown[name] != getattr(contact, name)
    }
    if conflicts:
        raise InvalidContactData(conflicts)
    for name, value in changed.items():
        by.record(contact, name, getattr(contact, name), value)
    if changed:
        _save_card(contact, changed)
    return list(changed)


def _drop_masked_values(contact: Contact, values: Mapping[str, str]) -> dict[str, str]:
    """Drop values that the user saw masked and sent back. Raises InvalidContactData for another hidden phone."""
    if not phone_visibility.hides_phones(contact.api_channel_id):
        return dict(values)
    new_values = {
        name: value
        for name, value in values.items()
        if value.strip() == getattr(contact, name) or value.strip() != _mask_field(contact, name)
    }
    if contact.phone and new_values.get("phone", contact.phone) != contact.phone:
        raise InvalidContactData({"phone": _("This number is hidden from you, so you cannot change it.")})
    return new_values


def _restore_masked_values(contact: Contact, shown: Mapping[str, str]) -> dict[str, str]:
    return {
        name: getattr(contact, name) if value == _mask_field(contact, name) else value for name, value in shown.items()
    }


def _mask_field(contact: Contact, name: str) -> str:
    return phone_visibility.visible_id(getattr(contact, name), contact.api_channel_id)


def get_card(contact: Contact) -> dict[str, str]:
    """Return the editable fields of a contact."""
    return {name: getattr(contact, name) for name in EDITABLE_FIELDS}


def record_program_changes(contact: Contact, before: Mapping[str, str], *, api_channel: ApiChannel) -> None:
    """Record the changes that a program of an API channel has just made to a contact."""
    by = Editor(source=ContactChange.Source.PROGRAM, api_channel=api_channel)
    changed = {name: value for name, value in get_card(contact).items() if value != before[name]}
    for name, value in changed.items():
        by.record(contact, name, before[name], value)
    if changed:
        new_values = dict(changed)
        for name in changed:
            setattr(contact, name, before[name])
        _save_card(contact, new_values)


def _save_card(contact: Contact, changed: Mapping[str, str]) -> None:
    fields = list(changed)
    if "phone" in changed and (address := _derive_address(contact)):
        contact.external_id = address
        fields.append("external_id")
    for name, value in changed.items():
        setattr(contact, name, value)
    if "name" in changed:
        contact.name_source = Contact.NameSource.PERSON if contact.name else Contact.NameSource.PROFILE
        fields.append("name_source")
    contact.save(update_fields=fields)
    chats = Conversation.objects.filter(contact=contact, helpdesk_chat__isnull=False).order_by("pk")
    for pk in chats.values_list("pk", flat=True):
        helpdesk_messages.queue_changed_card(receiving.lock_conversation(pk))


def _derive_address(contact: Contact) -> str:
    """Return the phone as provider ID, if messages were exchanged with the contact by phone alone; else ""."""
    if contact.external_id or contact.user_id or not contact.phone:
        return ""
    address = format_wire_phone(contact.phone)[:190]
    if Contact.objects.filter(api_channel=contact.api_channel_id, external_id=address).exists():
        return ""
    return address if Message.objects.filter(conversation__contact=contact).exists() else ""


def _is_same(name: str, stored: str, new: str) -> bool:
    """Return whether two values are equal. A phone in another spelling is equal."""
    if name == "phone" and stored and new:
        return phone_key(stored) == phone_key(new)
    return stored == new


def validate_card(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values in the form in which they are stored. Raises InvalidContactData."""
    valid, wrong = {}, {}
    for name, read in FIELD_PARSERS.items():
        if name not in values:
            continue
        try:
            valid[name] = read(values[name])
        except ValueError as problem:
            wrong[name] = str(problem)
    if wrong:
        raise InvalidContactData(wrong)
    return valid


def _parse_name(text: str) -> str:
    name = visible_name(text, limit=len(text))
    if text.strip() and not name:
        raise ValueError(_("This name has no visible characters. Enter another name."))
    if len(name) > LONGEST_NAME:
        raise ValueError(_("The name may have at most %(count)d characters.") % {"count": LONGEST_NAME})
    return name


def _parse_phone(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    sentence = _("This is not a phone number. Enter it with the country code, such as +7 921 555-01-04.")
    if len(text) > 40 or any(character.isalpha() for character in text):
        raise ValueError(sentence)
    key = phone_key(text)
    if key and not key.startswith(UNVERIFIED):
        return f"+{format_wire_phone(text)}"
    # Our numbering plans may be outdated: with a plus, a possible number is accepted.
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        raise ValueError(sentence) from None
    if not phonenumbers.is_possible_number(number):
        raise ValueError(sentence)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _parse_email(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    if len(text) > LONGEST_EMAIL:
        raise ValueError(_("The email address may have at most %(count)d characters.") % {"count": LONGEST_EMAIL})
    try:
        validate_email(text)
    except ValidationError:
        raise ValueError(_("This is not an email address. It looks like name@example.com.")) from None
    return text


FIELD_PARSERS: dict[str, Callable[[str], str]] = {"name": _parse_name, "phone": _parse_phone, "email": _parse_email}


def differs_from_address(contact: Contact) -> bool:
    """Return whether messages go to another number than the phone on the card."""
    return bool(contact.address_key and contact.phone_key and contact.address_key != contact.phone_key)


# --- notes -----------------------------------------------------------------------------------------------


def validate_note_text(text: str) -> str:
    """Return the note in the form in which it is stored. Raises InvalidContactData."""
    text = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not text:
        raise InvalidContactData({"text": _("A note cannot be empty.")})
    if len(text) > LONGEST_NOTE:
        raise InvalidContactData({"text": _("A note may have at most %(count)d characters.") % {"count": LONGEST_NOTE}})
    return text


@transaction.atomic
def edit_note(note_id: int, text: str, *, contact_ids: list[int], by: Editor) -> ContactNote:
    """Change the editor's own note. Raises InvalidContactData if it has another author or was deleted."""
    new_text = validate_note_text(text)
    note = _lock_own_note(note_id, contact_ids=contact_ids, by=by)
    if note.text != new_text:
        by.record(note.contact, ContactChange.Field.NOTE, note.text, new_text, note)
        note.text, note.edited_at = new_text, service_window.database_now()
        note.save(update_fields=["text", "edited_at"])
    return note


@transaction.atomic
def delete_note(note_id: int, *, contact_ids: list[int], by: Editor) -> None:
    """Delete the editor's own note. Its text stays in the history."""
    note = _lock_own_note(note_id, contact_ids=contact_ids, by=by)
    by.record(note.contact, ContactChange.Field.NOTE, note.text, "")
    note.delete()


def _lock_own_note(note_id: int, *, contact_ids: list[int], by: Editor) -> ContactNote:
    rows = ContactNote.objects.select_for_update(no_key=True, of=("self",)).select_related("contact")
    note = rows.filter(pk=note_id, contact__in=contact_ids, contact__erased_at=None, author=by.user).first()
    if note is None or by.user is None:
        raise InvalidContactData({"text": _("Only the author can change a note.")})
    return note
