"""Clients of the public API: ``create/client``, ``update/client``, ``client``, ``clients``."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody

from . import uapi_cards
from .models import Contact, Ticket
from .uapi import NOT_FOUND, Call, Error, UapiView
from .uapi_parameters import NO_MERGING, NO_PICTURES, as_choice, is_given, takes
from .uapi_reading import Reading, page, time_range

PARAMETERS = takes(
    *("client_id", "name", "phone"),
    *uapi_cards.IN_CLIENTS,
    refused={"merge_id": NO_MERGING, "avatar": NO_PICTURES},
)


class CreateClient(UapiView):
    """A client with phone and messenger identity. One whose identity is known keeps its number."""

    parameters = PARAMETERS

    def answer(self, call: Call) -> dict[str, Any]:
        if is_given(call.values.get("client_id")):
            return _update(call)  # a public client library updates by this method
        told = _told(call)
        if not any(told.values()):
            raise BadBody(_("A client needs a name, a phone, an email or a messenger."))
        identity = told["external_id"]
        contact = (
            Contact.objects.filter(api_channel=call.api_channel, external_id=identity).first() if identity else None
        )
        contact = contact or Contact(api_channel=call.api_channel, external_id=identity)
        _write(contact, told, call)
        return {"client_id": contact.pk, "status": True}


class UpdateClient(UapiView):
    """What is given is changed, everything else stays."""

    parameters = PARAMETERS

    def answer(self, call: Call) -> dict[str, Any]:
        return _update(call)


def _update(call: Call) -> dict[str, Any]:
    contact = _client(call)
    told = _told(call)
    taken = Contact.objects.filter(api_channel=contact.api_channel, external_id=told["external_id"])
    if contact.external_id or (told["external_id"] and taken.exists()):
        told["external_id"] = ""  # where the client is reached never changes by a card
    _write(contact, told, call)
    return {"client_id": contact.pk, "status": True}


def _told(call: Call) -> dict[str, str]:
    emails, messengers = call.values.get("emails"), call.values.get("messengers")
    emails = [emails] if isinstance(emails, str) else emails if isinstance(emails, list) else []
    messengers = messengers if isinstance(messengers, list) else []
    identities = [
        values.as_text(item.get("identity") or item.get("uid")).strip() for item in messengers if isinstance(item, dict)
    ]
    return {
        "name": values.as_text(call.values.get("name")).strip()[:200],
        "phone": _phone(values.as_text(call.values.get("phone"))),
        "email": next((values.as_text(email).strip()[:200] for email in emails if email), ""),
        "external_id": next((identity for identity in identities if identity), "")[:190],
    }


def _phone(text: str) -> str:
    digits = text.strip().removeprefix("+")
    if digits and not (digits.isascii() and digits.isdigit() and 10 <= len(digits) <= 15):
        raise BadBody(_("“phone” must be 10 to 15 digits and nothing else."))
    return digits


def _write(contact: Contact, told: dict[str, str], call: Call) -> None:
    for field, text in told.items():
        if text:
            setattr(contact, field, text)
    uapi_cards.write(contact, call, names=uapi_cards.IN_CLIENTS)
    contact.save()
    uapi_cards.write_note(contact, call)


def contacts_of(call: Call) -> QuerySet[Contact]:
    """The clients of this API channel, and those who write in the chat channels that it watches."""
    watched = call.api_channel.watched.values_list("pk", flat=True)
    return Contact.objects.filter(
        Q(api_channel=call.api_channel) | Q(conversations__chat_channel__in=watched)
    ).distinct()


def _client(call: Call) -> Contact:
    client_id = values.as_id(call.values.get("client_id"), "client_id")
    if client_id is None:
        raise BadBody(_("“client_id” is missing."))
    contact = contacts_of(call).filter(pk=client_id).first()
    if contact is None:
        raise Error(NOT_FOUND, _("There is no client %(id)s on this API channel.") % {"id": client_id})
    return contact


class Clients(Reading):
    """By name, email or phone; a hundred at a time."""

    parameters = takes("query", "search_type", "offset", "created_after", "created_before")

    def answer(self, call: Call) -> list[dict[str, Any]]:
        rows = contacts_of(call)
        query = values.as_text(call.values.get("query")).strip()
        how = as_choice(call.values.get("search_type"), "search_type", ["partial_match", "full_match"])
        if query:
            how = "iexact" if how == "full_match" else "icontains"
            found = Q()
            for field in ("name", "email", "phone", "external_id"):
                found |= Q(**{f"{field}__{how}": query})
            rows = rows.filter(found)
        contacts = page(call, time_range(call, rows, "created_at", "created").order_by("pk"))
        tickets: dict[int, list[int]] = {}
        owned = Ticket.objects.filter(
            conversation__contact__in=[contact.pk for contact in contacts],
            conversation__chat_channel__in=call.api_channel.watched.all(),
        )
        for contact_id, ticket_id in owned.order_by("pk").values_list("conversation__contact_id", "pk"):
            tickets.setdefault(contact_id, []).append(ticket_id)
        return [
            {
                "id": contact.pk,
                "name": contact.name,
                "emails": contact.email or None,
                "phone": contact.phone or None,
                "tickets": tickets.get(contact.pk, []),
            }
            for contact in contacts
        ]


class ReadClient(Reading):
    """``client``: one card with everything on it."""

    parameters = takes("client_id")

    def answer(self, call: Call) -> dict[str, Any]:
        contact = _client(call)
        owned = Ticket.objects.filter(
            conversation__contact=contact, conversation__chat_channel__in=call.api_channel.watched.all()
        )
        card = {
            "id": contact.pk,
            "name": contact.name,
            "emails": _all(contact.card.get("emails", []), contact.email),
            "phones": [{"phone": contact.phone, "type": "mobile"}] if contact.phone else [],
            "messengers": _all(
                contact.card.get("messengers", []),
                {"type": "whatsapp", "identity": contact.external_id} if contact.external_id else None,
            ),
            "tickets": list(owned.order_by("pk").values_list("pk", flat=True)),
        }
        return {"client": card | uapi_cards.shown(contact)}


def _all(more: list[Any], first: Any) -> list[Any]:
    """Return the one that we use, then the others that the caller told."""
    return [*([first] if first else []), *(item for item in more if item != first)]
