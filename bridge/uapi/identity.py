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
from channels_setup.codecs.phone_numbers import id_key, phone_key, wire_digits
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo

from .errors import BAD_FIELD, NOT_FOUND, Error
from .parameters import LONGEST_PERSON, as_plain_text

LONGEST_ID, LONGEST_PHONE = 190, 15


def sender_info(api_channel: ApiChannel, sender: dict[str, Any]) -> ContactInfo:
    """Read ``message.from``.

    Where the caller is the provider, its id is how the contact is reached; where WhatsApp numbers are, it is not.
    """
    client_id = plain_id(as_plain_text(sender.get("client_id"), "message.from.client_id", longest=LONGEST_ID))
    phone = plain_phone(as_plain_text(sender.get("phone"), "message.from.phone"))
    email = as_plain_text(sender.get("email"), "message.from.email")
    is_address = not api_channel.provider.ids_are_phone_numbers
    if not is_address and not phone and id_key(client_id):
        phone = f"+{wire_digits(client_id)}"
    return ContactInfo(
        external_id=client_id if is_address else "",
        caller_id=client_id,
        phone=phone,
        name=as_plain_text(sender.get("name"), "message.from.name")[:LONGEST_PERSON],
        email=email if len(email) <= LONGEST_PERSON else "",
    )


def unused_of(sender: dict[str, Any]) -> list[str]:
    """Return the parameters of a sender that cannot be kept whole: a phone that is none, a long name or e-mail.

    The client's words are worth more than these, so the call goes through and its answer names them.
    """
    told = {name: values.as_text(sender.get(name)).strip() for name in ("name", "email", "phone")}
    unused = [f"message.from.{name}" for name in ("name", "email") if len(told.get(name, "")) > LONGEST_PERSON]
    return unused + (["message.from.phone"] if told.get("phone") and not plain_phone(told["phone"]) else [])


def plain_id(text: str) -> str:
    """An id as it is kept; a phone number is the same with and without its plus."""
    text = text.strip()[:LONGEST_ID]
    return text[1:] if text.startswith("+") and text[1:].isdecimal() else text


def plain_phone(text: str) -> str:
    """Digits only, with a plus where there was one: the same phone always looks the same. "" for more than 15."""
    digits = "".join(character for character in text if character.isascii() and character.isdigit())
    digits = digits if len(digits) <= LONGEST_PHONE else ""
    return f"+{digits}" if digits and text.strip().startswith("+") else digits


def client_of(api_channel: ApiChannel, sender: dict[str, Any], info: ContactInfo) -> Contact | None:
    """The contact that our number in the call means; None where the caller's id or the phone decides."""
    known = Contact.objects.filter(api_channel=api_channel, erased_at=None)
    number = values.as_id(sender.get("okno_client_id"), "message.from.okno_client_id")
    if number is not None:
        contact = known.filter(pk=number).first()
        if contact is None:
            raise Error(NOT_FOUND, _("There is no client %(id)s on this API channel.") % {"id": number})
        _learn_caller_id(contact, info)
        return contact
    if not (info.caller_id.isascii() and info.caller_id.isdigit() and int(info.caller_id[:19]) <= values.LARGEST_ID):
        return None
    ours = known.filter(pk=int(info.caller_id[:19])).first()
    if ours is None or info.caller_id != str(ours.pk) or not _is_vouched_for(ours, info):
        return None
    theirs = contacts.find_by_caller_id(api_channel, info.caller_id)
    if theirs is None or theirs.pk == ours.pk or _is_proven(ours, info):
        return ours
    return None


def _learn_caller_id(contact: Contact, info: ContactInfo) -> None:
    """Both numbers in one call: from now on the caller's own is enough."""
    if not info.caller_id or info.caller_id == str(contact.pk):
        return
    theirs = contacts.find_by_caller_id(contact.api_channel, info.caller_id)
    if theirs is None and not contact.caller_id:
        contact.caller_id = info.caller_id
        contact.save(update_fields=["caller_id"])
    elif theirs is not None and theirs.pk != contact.pk:
        sentence = _("client_id %(theirs)s and okno_client_id %(ours)s mean two different clients.")
        raise Error(BAD_FIELD, sentence % {"theirs": info.caller_id, "ours": contact.pk})


def _is_proven(contact: Contact, info: ContactInfo) -> bool:
    """Tell whether the call gives the client's own phone or e-mail."""
    if key := phone_key(info.phone):
        return key in (contact.phone_key, contact.address_key)
    return bool(info.email) and info.email.casefold() == contact.email.casefold()


def _is_vouched_for(contact: Contact, info: ContactInfo) -> bool:
    """Tell whether our number cannot be the caller's own id of somebody else."""
    if info.phone or (info.email and contact.email):
        return _is_proven(contact, info)
    return contact.number_issued and not contact.caller_id and names_agree(contact.name, info.name)


def names_agree(one: str, other: str) -> bool:
    """Tell whether two names can be one person's: one has all the words of the other, or is empty."""
    words, others = (set(visible_name(name).casefold().split()) for name in (one, other))
    return words <= others or others <= words
