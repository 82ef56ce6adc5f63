"""The clients that a refused call names, so that the record of the call is erased with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q

from bridge.models import Contact
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.phone_numbers import search_keys

from .base_call import UapiCall

PHONE_NAMES = ("phone", "client_phone")


def find_named_contacts(call: UapiCall) -> list[Contact]:
    """Return the clients that the parameters name by our numbers or by a phone. Parameters may be invalid."""
    query = Q(pk__in=call.contact_ids)
    message = call.values.get("message")
    sender = message.get("from") if isinstance(message, dict) else None
    for given in (call.values, sender):
        if not isinstance(given, dict):
            continue
        clients = [*_read_ids(given, "client_id"), *_read_ids(given, "okno_client_id")]
        query |= Q(pk__in=clients)
        query |= Q(conversations__in=_read_ids(given, "chat_id"))
        query |= Q(conversations__tickets__in=_read_ids(given, "ticket_id"))
        keys = [key for name in PHONE_NAMES for key in search_keys(values.as_text(given.get(name)))]
        query |= Q(phone_key__in=keys) | Q(address_key__in=keys)
    return list(Contact.objects.filter(query).distinct()) if query else []


def _read_ids(given: dict[str, Any], name: str) -> Iterator[int]:
    try:
        number = values.parse_id(given.get(name), name)
    except BadBody:
        return
    if number is not None:
        yield number
