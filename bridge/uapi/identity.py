"""Identification of the client in a call of the public API: by the caller's ID, by Okno's client ID, by phone.

``message.from.client_id`` is an ID in the caller's system. It can equal the Okno ID of a different client. The value
counts as an Okno ID only if that is no coincidence: as ``okno_client_id``; with the client's phone or email in the
same call; or if Okno has returned this ID to the caller and the call does not point to another person.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from bridge.conversations import contacts, erased_ids
from bridge.models import Contact
from bridge.person_erased import PersonErased
from channels_setup.codecs import values
from channels_setup.codecs.phone_numbers import format_wire_phone, id_key, phone_key
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo

from .errors import BAD_FIELD, NOT_FOUND, UapiError
from .parameters import MAX_PERSON_LENGTH, read_text

MAX_ID_LENGTH, MAX_PHONE_DIGITS = 190, 15


def read_sender(api_channel: ApiChannel, sender: dict[str, Any]) -> ContactInfo:
    """Read ``message.from``.

    The caller's client ID becomes the address of the contact, unless the provider addresses contacts by phone number.
    """
    client_id = normalize_id(read_text(sender.get("client_id"), "message.from.client_id", longest=MAX_ID_LENGTH))
    phone = normalize_phone(read_text(sender.get("phone"), "message.from.phone"))
    email = read_text(sender.get("email"), "message.from.email")
    is_address = not api_channel.provider.ids_are_phone_numbers
    if not is_address and not phone and id_key(client_id):
        phone = f"+{format_wire_phone(client_id)}"
    return ContactInfo(
        external_id=client_id if is_address else "",
        caller_id=client_id,
        phone=phone,
        name=read_text(sender.get("name"), "message.from.name")[:MAX_PERSON_LENGTH],
        email=email if len(email) <= MAX_PERSON_LENGTH else "",
    )


def list_unused(sender: dict[str, Any]) -> list[str]:
    """Return the sender's parameters that are not saved: an invalid phone, or a name or email that is too long.

    They are reported in the response. The message is still accepted.
    """
    texts = {name: values.as_text(sender.get(name)).strip() for name in ("name", "email", "phone")}
    unused = [f"message.from.{name}" for name in ("name", "email") if len(texts.get(name, "")) > MAX_PERSON_LENGTH]
    return unused + (["message.from.phone"] if texts.get("phone") and not normalize_phone(texts["phone"]) else [])


def normalize_id(text: str) -> str:
    """Return the ID as it is stored: trimmed, and a phone number without its plus sign."""
    text = text.strip()[:MAX_ID_LENGTH]
    return text[1:] if text.startswith("+") and text[1:].isdecimal() else text


def normalize_phone(text: str) -> str:
    """Return the digits of a phone number, with a plus sign if it had one; "" for more than 15 digits."""
    digits = "".join(character for character in text if character.isascii() and character.isdigit())
    digits = digits if len(digits) <= MAX_PHONE_DIGITS else ""
    return f"+{digits}" if digits and text.strip().startswith("+") else digits


def find_client(api_channel: ApiChannel, sender: dict[str, Any], info: ContactInfo) -> Contact | None:
    """Return the contact whose Okno ID the call gives; None if the caller's own ID or the phone decides.

    Raises UapiError and PersonErased.
    """
    known = Contact.objects.filter(api_channel=api_channel)
    number = values.parse_id(sender.get("okno_client_id"), "message.from.okno_client_id")
    if number is not None:
        contact = known.filter(pk=number).first()
        if contact is None:
            raise UapiError(NOT_FOUND, _("Client %(id)s does not exist on this API channel.") % {"id": number})
        if contact.erased_at:
            raise PersonErased
        _save_caller_id(contact, info)
        return contact
    if not (info.caller_id.isascii() and info.caller_id.isdigit() and int(info.caller_id[:19]) <= values.MAX_ID):
        return None
    ours = known.filter(pk=int(info.caller_id[:19])).first()
    if ours is None or info.caller_id != str(ours.pk):
        return None
    if ours.erased_at:
        _refuse_erased(ours, info)
        return None
    if not _is_portal_id(ours, info):
        return None
    theirs = contacts.find_by_caller_id(api_channel, info.caller_id)
    if theirs is None or theirs.pk == ours.pk or _has_matching_contact_data(ours, info):
        return ours
    return None


def _refuse_erased(contact: Contact, info: ContactInfo) -> None:
    """Raise PersonErased if the call means the erased contact with this number, and not the caller's own client."""
    theirs = contacts.find_by_caller_id(contact.api_channel, info.caller_id)
    if theirs is None and erased_ids.is_erased_client(contact, phone_key(info.phone)):
        raise PersonErased


def _save_caller_id(contact: Contact, info: ContactInfo) -> None:
    """Save the caller's ID of a contact named by its Okno ID, so that later calls need only the caller's ID.

    Raises UapiError if the two IDs belong to different clients.
    """
    if not info.caller_id or info.caller_id == str(contact.pk):
        return
    theirs = contacts.find_by_caller_id(contact.api_channel, info.caller_id)
    if theirs is None and not contact.caller_id:
        contact.caller_id = info.caller_id
        contact.save(update_fields=["caller_id"])
    elif theirs is not None and theirs.pk != contact.pk:
        sentence = _("client_id %(theirs)s and okno_client_id %(ours)s belong to different clients.")
        raise UapiError(BAD_FIELD, sentence % {"theirs": info.caller_id, "ours": contact.pk})


def _has_matching_contact_data(contact: Contact, info: ContactInfo) -> bool:
    """Return whether the call gives the phone or email of this contact."""
    if key := phone_key(info.phone):
        return key in (contact.phone_key, contact.address_key)
    return bool(info.email) and info.email.casefold() == contact.email.casefold()


def _is_portal_id(contact: Contact, info: ContactInfo) -> bool:
    """Return whether the ID in the call is the Okno ID of this contact, and not the caller's ID of another client."""
    if info.phone or (info.email and contact.email):
        return _has_matching_contact_data(contact, info)
    return contact.number_issued and not contact.caller_id and are_names_compatible(contact.name, info.name)


def are_names_compatible(one: str, other: str) -> bool:
    """Return whether two names can belong to one person: the words of one include those of the other."""
    words, others = (set(visible_name(name).casefold().split()) for name in (one, other))
    return words <= others or others <= words
