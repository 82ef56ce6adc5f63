"""Whom a call of the public API means: by the caller's own id, by our number, by phone.

``message.from.client_id`` is an id in the caller's system. It may equal our number of somebody else, so our number is
taken only where it cannot be an accident: as ``okno_client_id``, or where the call gives the client's phone or e-mail
as well, or where we gave the number out for this client and nothing in the call speaks of another person.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from bridge.conversations import contacts
from bridge.models import Contact
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

    Where the caller is the provider, its id is how the contact is reached; where WhatsApp numbers are, it is not.
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
    """Return the parameters of a sender that cannot be kept whole: a phone that is none, a long name or e-mail.

    The client's words are worth more than these, so the call goes through and its answer names them.
    """
    told = {name: values.as_text(sender.get(name)).strip() for name in ("name", "email", "phone")}
    unused = [f"message.from.{name}" for name in ("name", "email") if len(told.get(name, "")) > MAX_PERSON_LENGTH]
    return unused + (["message.from.phone"] if told.get("phone") and not normalize_phone(told["phone"]) else [])


def normalize_id(text: str) -> str:
    """An id as it is kept; a phone number is the same with and without its plus."""
    text = text.strip()[:MAX_ID_LENGTH]
    return text[1:] if text.startswith("+") and text[1:].isdecimal() else text


def normalize_phone(text: str) -> str:
    """Digits only, with a plus where there was one: the same phone always looks the same. "" for more than 15."""
    digits = "".join(character for character in text if character.isascii() and character.isdigit())
    digits = digits if len(digits) <= MAX_PHONE_DIGITS else ""
    return f"+{digits}" if digits and text.strip().startswith("+") else digits


def find_client(api_channel: ApiChannel, sender: dict[str, Any], info: ContactInfo) -> Contact | None:
    """The contact that our number in the call means; None where the caller's id or the phone decides."""
    known = Contact.objects.filter(api_channel=api_channel, erased_at=None)
    number = values.parse_id(sender.get("okno_client_id"), "message.from.okno_client_id")
    if number is not None:
        contact = known.filter(pk=number).first()
        if contact is None:
            raise UapiError(NOT_FOUND, _("There is no client %(id)s on this API channel.") % {"id": number})
        _save_caller_id(contact, info)
        return contact
    if not (info.caller_id.isascii() and info.caller_id.isdigit() and int(info.caller_id[:19]) <= values.MAX_ID):
        return None
    ours = known.filter(pk=int(info.caller_id[:19])).first()
    if ours is None or info.caller_id != str(ours.pk) or not _is_portal_id(ours, info):
        return None
    theirs = contacts.find_by_caller_id(api_channel, info.caller_id)
    if theirs is None or theirs.pk == ours.pk or _has_matching_contact_data(ours, info):
        return ours
    return None


def _save_caller_id(contact: Contact, info: ContactInfo) -> None:
    """Both numbers in one call: from now on the caller's own is enough."""
    if not info.caller_id or info.caller_id == str(contact.pk):
        return
    theirs = contacts.find_by_caller_id(contact.api_channel, info.caller_id)
    if theirs is None and not contact.caller_id:
        contact.caller_id = info.caller_id
        contact.save(update_fields=["caller_id"])
    elif theirs is not None and theirs.pk != contact.pk:
        sentence = _("client_id %(theirs)s and okno_client_id %(ours)s mean two different clients.")
        raise UapiError(BAD_FIELD, sentence % {"theirs": info.caller_id, "ours": contact.pk})


def _has_matching_contact_data(contact: Contact, info: ContactInfo) -> bool:
    """Tell whether the call gives the client's own phone or e-mail."""
    if key := phone_key(info.phone):
        return key in (contact.phone_key, contact.address_key)
    return bool(info.email) and info.email.casefold() == contact.email.casefold()


def _is_portal_id(contact: Contact, info: ContactInfo) -> bool:
    """Tell whether our number cannot be the caller's own id of somebody else."""
    if info.phone or (info.email and contact.email):
        return _has_matching_contact_data(contact, info)
    return contact.number_issued and not contact.caller_id and are_names_compatible(contact.name, info.name)


def are_names_compatible(one: str, other: str) -> bool:
    """Tell whether two names can be one person's: one has all the words of the other, or is empty."""
    words, others = (set(visible_name(name).casefold().split()) for name in (one, other))
    return words <= others or others <= words
