"""Client methods of the public API: ``create/client``, ``update/client``, ``client``, ``clients``."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from bridge import person_erased
from bridge.conversations import contact_editing, contacts, merge_lookup
from bridge.models import Contact, ContactQuerySet, Ticket
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.phone_numbers import format_wire_phone, id_key, is_phone_number, phone_key, search_keys
from channels_setup.codecs.visible_names import is_proper_name, visible_name
from channels_setup.providers.base import ContactInfo

from . import client_cards
from .base import UapiView
from .base_call import UapiCall
from .errors import NOT_FOUND, UapiError
from .identity import are_names_compatible, normalize_id
from .parameters import MERGING_NOT_SUPPORTED, PICTURES_NOT_SUPPORTED, define_parameters, is_given, is_null, read_choice
from .reading import ReadOnlyView, filter_by_time, get_page

PARAMETERS = define_parameters(
    *("client_id", "name", "phone"),
    *client_cards.CLIENT_PARAMETERS,
    refused={"merge_id": MERGING_NOT_SUPPORTED, "avatar": PICTURES_NOT_SUPPORTED},
)


class CreateClient(UapiView):
    """``create/client``: create a client, or update and return the client who has this phone or identity."""

    parameters = PARAMETERS

    def answer(self, call: UapiCall) -> dict[str, Any]:
        if is_given(call.values.get("client_id")) and not is_null(call.values["client_id"]):
            return _update_client(call)  # a public client library uses this method for updates
        fields = _read_values(call)
        if not any(fields.values()):
            raise BadBody(_("A client needs a name, a phone, an email or a messenger."))
        info = ContactInfo(external_id=fields["external_id"], phone=fields["phone"])
        contact = contacts.find_contact(call.api_channel, info) if fields["external_id"] or fields["phone"] else None
        if contact is not None and not fields["external_id"] and _has_other_name(contact, fields["name"]):
            contact = None  # two people can share a phone, for example in a family
        if contact is None:
            contact = Contact(api_channel=call.api_channel)
        else:
            call.link_contact(contact)
            found, contact = contact, lock_contact(contact)
            if found.pk != contact.pk:  # a merged contact keeps its own IDs
                is_theirs = phone_key(fields["phone"]) in (found.phone_key, found.address_key)
                fields |= {"external_id": "", "phone": "" if is_theirs else fields["phone"]}
        contact.number_issued = True
        unused = []
        if _has_other_name(contact, fields["name"]):
            fields["name"], unused = "", ["name"]  # a name set by a person is not replaced
        before = contact_editing.get_card(contact) if contact.pk else None
        unused += _save_client(contact, fields, call)
        call.link_contact(contact)
        if before is not None:
            contact_editing.record_program_changes(contact, before, api_channel=call.api_channel)
        return _build_answer(contact, unused)


def _build_answer(contact: Contact, unused: list[str]) -> dict[str, Any]:
    """Build the response of ``create/client`` and ``update/client``. ``ignored`` lists values that were not saved."""
    return {"client_id": contact.pk, "status": True} | ({"ignored": unused} if unused else {})


def _has_other_name(contact: Contact, name: str) -> bool:
    """Return whether a person has given this contact a name that does not fit ``name``."""
    return contact.name_source == Contact.NameSource.PERSON and not are_names_compatible(contact.name, name)


class UpdateClient(UapiView):
    """``update/client``: change the given fields and keep the others."""

    parameters = PARAMETERS

    def answer(self, call: UapiCall) -> dict[str, Any]:
        return _update_client(call)


def _update_client(call: UapiCall) -> dict[str, Any]:
    contact = _get_client(call)
    fields = _read_values(call)
    identity = fields["external_id"]
    is_new = bool(identity) and identity != contact.external_id
    other = contacts.find_contact(contact.api_channel, ContactInfo(external_id=identity)) if is_new else None
    contact = lock_contact(contact)
    if identity and identity != contact.external_id:
        if contact.external_id and id_key(identity) != contact.address_key:
            raise BadBody(_("The messenger of client %(id)s cannot be changed here.") % {"id": contact.pk})
        if other is not None and other.pk != contact.pk:
            raise BadBody(_("This messenger belongs to client %(id)s.") % {"id": other.pk})
    before = contact_editing.get_card(contact)
    unused = _save_client(contact, fields, call)
    contact_editing.record_program_changes(contact, before, api_channel=call.api_channel)
    return _build_answer(contact, unused)


def _read_values(call: UapiCall) -> dict[str, str]:
    identities = [
        normalize_id(client_cards.messenger_identity(item))
        for item in client_cards.read_items(call, "messengers")
        if values.as_text(item.get("type")).strip().lower() in ("", "whatsapp")
    ]
    return {
        "name": visible_name(values.as_text(call.values.get("name"))),
        "phone": read_phone(values.as_text(call.values.get("phone"))),
        "email": next(iter(client_cards.read_items(call, "emails")), ""),
        "external_id": next(iter(identities), ""),
    }


def read_phone(text: str) -> str:
    digits = text.strip().removeprefix("+")
    if digits and not (digits.isascii() and digits.isdigit() and 10 <= len(digits) <= 15):
        raise BadBody(_("“phone” must be 10 to 15 digits."))
    return digits


def _save_client(contact: Contact, fields: dict[str, str], call: UapiCall) -> list[str]:
    """Save the given values and return the names of parameters that were not saved.

    The name counts as set by a person, so WhatsApp profile names no longer replace it. The caller must hold the lock
    of an existing contact.
    """
    columns = ["card", "number_issued", "name", "name_source"]
    for field, text in fields.items():
        # An update never changes the ID that messages are sent to.
        if text and field != "name" and not (field == "external_id" and contact.external_id):
            setattr(contact, field, text)
            columns.append(field)
    contact.set_keys()
    name = fields["name"]
    own_number = is_phone_number(name) and phone_key(name) in (contact.phone_key, contact.address_key)
    if name and not own_number and (name != contact.name or is_proper_name(name)):
        contact.name, contact.name_source = name, Contact.NameSource.PERSON
    unused = ["name"] if name and name != contact.name else []
    client_cards.update_card(contact, call, names=client_cards.CLIENT_PARAMETERS)
    contact.save(update_fields=columns if contact.pk else None)
    client_cards.save_note(contact, call)
    return unused


def lock_contact(contact: Contact) -> Contact:
    """Lock and return the contact, or the contact that it was merged into, until the transaction ends.

    Raises PersonErased.
    """
    rows = Contact.objects.select_for_update(no_key=True)
    found = rows.get(pk=merge_lookup.get_owner(contact).pk)
    while found.merged_into_id is not None:  # merged since the first query
        found = rows.get(pk=found.merged_into_id)
    if found.erased_at:
        raise person_erased.PersonErased
    return found


def visible_contacts(call: UapiCall) -> ContactQuerySet:
    """Return the clients of this API channel and of the chat channels that it watches."""
    watched = call.api_channel.watched.values_list("pk", flat=True)
    return Contact.objects.filter(
        Q(api_channel=call.api_channel) | Q(conversations__chat_channel__in=watched)
    ).distinct()


def _get_client(call: UapiCall) -> Contact:
    client_id = values.parse_id(call.values.get("client_id"), "client_id")
    if client_id is None:
        raise BadBody(_("“client_id” is missing."))
    contact = visible_contacts(call).filter(pk=client_id).first()
    if contact is None:
        raise UapiError(NOT_FOUND, _("Client %(id)s does not exist on this API channel.") % {"id": client_id})
    call.link_contact(contact)
    owner = merge_lookup.get_owner(contact)
    call.link_contact(owner)
    return owner


class Clients(ReadOnlyView):
    """``clients``: search clients by name, email, phone or ID, 100 per page."""

    parameters = define_parameters("query", "search_type", "offset", "created_after", "created_before")

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        rows = visible_contacts(call).filter(merged_into=None)
        query = values.as_text(call.values.get("query")).strip()
        how = read_choice(call.values.get("search_type"), "search_type", ["partial_match", "full_match"])
        if query:
            how = "iexact" if how == "full_match" else "icontains"
            found = Q()
            for field in ("name", "email", "phone", "external_id", "caller_id", "username", "user_id"):
                found |= Q(**{f"{field}__{how}": query})
            rows = rows.filter(found | Q(pk__in=visible_contacts(call).with_phone(search_keys(query)).values("pk")))
        found_rows = get_page(call, filter_by_time(call, rows, "created_at", "created").order_by("pk"))
        tickets: dict[int, list[int]] = {}
        owned = Ticket.objects.filter(
            conversation__contact__in=[contact.pk for contact in found_rows],
            conversation__chat_channel__in=call.api_channel.watched.all(),
        )
        for contact_id, ticket_id in owned.order_by("pk").values_list("conversation__contact_id", "pk"):
            tickets.setdefault(contact_id, []).append(ticket_id)
        return [
            {
                "id": contact.pk,
                "name": contact.name,
                "emails": contact.email or None,
                "phone": format_wire_phone(contact.phone) or None,
                "tickets": tickets.get(contact.pk, []),
            }
            for contact in found_rows
        ]


class ReadClient(ReadOnlyView):
    """``client``: return one client with all data and request IDs."""

    parameters = define_parameters("client_id")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        contact = _get_client(call)
        owned = Ticket.objects.filter(
            conversation__contact=contact, conversation__chat_channel__in=call.api_channel.watched.all()
        )
        card = {
            "id": contact.pk,
            "name": contact.name,
            "emails": _merge_first(contact.card.get("emails", []), contact.email),
            "phones": [{"phone": format_wire_phone(contact.phone), "type": "mobile"}] if contact.phone else [],
            "messengers": _merge_first(
                contact.card.get("messengers", []),
                {"type": "whatsapp", "identity": contact.external_id} if contact.external_id else None,
            ),
            "tickets": list(owned.order_by("pk").values_list("pk", flat=True)),
        }
        return {"client": card | client_cards.serialize_card(contact)}


def _merge_first(more: list[Any], first: Any) -> list[Any]:
    """Return ``first``, the value in use, followed by the caller's other values."""
    return [*([first] if first else []), *(item for item in more if item != first)]
