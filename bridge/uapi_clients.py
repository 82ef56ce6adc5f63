"""Clients and operators of the public API: ``create/client``, ``update/client``, ``client``, ``clients``,
``users``.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody

from .models import Contact, Ticket
from .uapi import NOT_FOUND, Call, Error, UapiView
from .uapi_reading import Reading, page, time_range


class CreateClient(UapiView):
    """A client with phone and messenger identity. One whose identity is known keeps its number."""

    def answer(self, call: Call) -> dict[str, Any]:
        told = _told(call)
        if not any(told.values()):
            raise BadBody(_("A client needs a name, a phone, an email or a messenger."))
        identity = told["external_id"]
        contact = (
            Contact.objects.filter(api_channel=call.api_channel, external_id=identity).first() if identity else None
        )
        contact = contact or Contact(api_channel=call.api_channel, external_id=identity)
        _write(contact, told)
        return {"client_id": contact.pk, "status": True}


class UpdateClient(UapiView):
    """What is given is changed, everything else stays."""

    def answer(self, call: Call) -> dict[str, Any]:
        contact = _client(call)
        told = _told(call)
        taken = Contact.objects.filter(api_channel=contact.api_channel, external_id=told["external_id"])
        if contact.external_id or (told["external_id"] and taken.exists()):
            told["external_id"] = ""  # where the client is reached never changes by a card
        _write(contact, told)
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


def _write(contact: Contact, told: dict[str, str]) -> None:
    for field, text in told.items():
        if text:
            setattr(contact, field, text)
    contact.save()


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

    def answer(self, call: Call) -> list[dict[str, Any]]:
        rows = contacts_of(call)
        query = values.as_text(call.values.get("query")).strip()
        if query:
            how = "iexact" if values.as_text(call.values.get("search_type")) == "full_match" else "icontains"
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

    def answer(self, call: Call) -> dict[str, Any]:
        contact = _client(call)
        owned = Ticket.objects.filter(
            conversation__contact=contact, conversation__chat_channel__in=call.api_channel.watched.all()
        )
        card = {
            "id": contact.pk,
            "name": contact.name,
            "emails": [contact.email] if contact.email else [],
            "phones": [{"phone": contact.phone, "type": "mobile"}] if contact.phone else [],
            "messengers": [{"type": "whatsapp", "identity": contact.external_id}] if contact.external_id else [],
            "tickets": list(owned.order_by("pk").values_list("pk", flat=True)),
        }
        return {"client": card}


class Users(Reading):
    """The operators of the watched chat channels, and the admins."""

    def answer(self, call: Call) -> Any:
        people = get_user_model()._default_manager.filter(is_active=True)
        rows = people.filter(Q(chat_channels__in=call.api_channel.watched.all()) | Q(is_staff=True)).distinct()
        user_id = values.as_id(call.values.get("user_id"), "user_id")
        if user_id is not None:
            rows = rows.filter(pk=user_id)
        if query := values.as_text(call.values.get("query")).strip():
            by_name = Q(first_name__icontains=query) | Q(last_name__icontains=query) | Q(username__icontains=query)
            rows = rows.filter(by_name | Q(email__icontains=query))
        role = values.as_text(call.values.get("user_type"))
        if role in ("admin", "employee"):
            rows = rows.filter(is_staff=role == "admin")
        return [_user(user) for user in rows.order_by("pk")]


class ReadUser(Users):
    """``user``: one of them by ``user_id``."""

    def answer(self, call: Call) -> Any:
        if call.values.get("user_id") in (None, ""):
            raise BadBody(_("“user_id” is missing."))
        found = super().answer(call)
        if not found:
            raise Error(NOT_FOUND, _("There is no operator %(id)s.") % {"id": call.values["user_id"]})
        return {"user": found[0]}


def _user(user: Any) -> dict[str, Any]:
    return {
        "id": user.pk,
        "name": user.get_full_name() or user.get_username(),
        "email": user.email,
        "position": "",
        "role": "admin" if user.is_staff else "employee",
        "phone": None,
        "chat_online_status": 0,
        "online_status": 0,
        "groups": [],
    }
