"""Who it is that writes: the contact of each message, found or made.

A provider may know a contact by two ids: one of their own (a phone number) and one that they have with this business
alone. Either may be missing. The two are linked on the first word that bears both; where they point at two contacts
already, nothing is merged: the word goes to the one known by the provider's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo

from .models import Contact

LIMITS = {"external_id": 190, "user_id": 160, "phone": 32, "name": 200, "email": 200}


def of(api_channel: ApiChannel, told: Sequence[tuple[ContactInfo, Contact | None]]) -> list[Contact]:
    """The contact of each, in their order; created where it was not known, and told what is new of it.

    Beside what is said of a contact stands the contact itself where the caller has already found it.
    """
    infos = [info for info, contact in told if contact is None]
    found, linked = _found_or_made(api_channel, infos) if infos else ([], set())
    remaining = iter(found)
    result = [contact or next(remaining) for _info, contact in told]
    _learn(zip(result, (info for info, _contact in told), strict=True), linked=linked)
    return result


def _found_or_made(api_channel: ApiChannel, infos: Sequence[ContactInfo]) -> tuple[list[Contact], set[int]]:
    book = _Book(api_channel, infos)
    found = [book.find(info) for info in infos]
    if any(made.external_id or made.user_id for made in book.new):
        with_ids = [made for made in book.new if made.external_id or made.user_id]
        Contact.objects.bulk_create(with_ids, ignore_conflicts=True)
        book = _Book(api_channel, infos)  # with the keys that the database gave, or somebody else's of the same moment
        found = [book.find(info) for info in infos]
    for made in book.new:
        made.save()
    return found, book.linked


class _Book:
    """The contacts that these words may come from, by both ids. One question to the database."""

    def __init__(self, api_channel: ApiChannel, infos: Sequence[ContactInfo]) -> None:
        self.api_channel = api_channel
        self.new: list[Contact] = []
        self.linked: set[int] = set()
        external_ids = {info.external_id for info in infos} - {""}
        user_ids = {info.user_id for info in infos} - {""}
        wanted = Q(external_id__in=external_ids) if external_ids else Q()
        wanted |= Q(user_id__in=user_ids) if user_ids else Q()
        rows = list(Contact.objects.filter(wanted, api_channel=api_channel)) if external_ids or user_ids else []
        self.by_external = {row.external_id: row for row in rows if row.external_id}
        self.by_user = {row.user_id: row for row in rows if row.user_id}

    def find(self, info: ContactInfo) -> Contact:
        by_external = self.by_external.get(info.external_id) if info.external_id else None
        by_user = self.by_user.get(info.user_id) if info.user_id else None
        contact = by_external or (by_user if _may_be(by_user, info) else None)
        if contact is None:
            contact = new_contact(self.api_channel, info)
            if by_user is not None:
                contact.user_id = ""  # another's already: two contacts, and an admin may see why
            self.new.append(contact)
        else:
            self._link(contact, info, by_user)
        if contact.external_id:
            self.by_external[contact.external_id] = contact
        if contact.user_id:
            self.by_user[contact.user_id] = contact
        return contact

    def _link(self, contact: Contact, info: ContactInfo, by_user: Contact | None) -> None:
        if info.external_id and not contact.external_id:
            contact.external_id = info.external_id
            self.linked.add(id(contact))
        if info.user_id and not contact.user_id and by_user is None:
            contact.user_id = info.user_id
            self.linked.add(id(contact))


def reached(told: Mapping[int, ContactInfo]) -> None:
    """By which ids the provider knows whom we have just written to, by conversation.

    It may have rewritten the number, and will name the contact by its own when they answer. An id that is another
    contact's already stays there.
    """
    told = {pk: info for pk, info in told.items() if info.external_id or info.user_id}
    if not told:
        return
    rows = Contact.objects.filter(conversations__in=told).annotate(conversation_pk=F("conversations__pk"))
    for contact in rows.filter(conversations__in=told).order_by("pk"):
        info = told[contact.conversation_pk]
        for name in ("external_id", "user_id"):
            value = getattr(info, name)[: LIMITS[name]]
            if value and value != getattr(contact, name) and (name == "external_id" or not contact.user_id):
                _take_id(contact, name, value)


def _take_id(contact: Contact, name: str, value: str) -> None:
    taken = Contact.objects.filter(api_channel=contact.api_channel_id, **{name: value})
    try:
        with transaction.atomic():
            if not taken.exists():
                Contact.objects.filter(pk=contact.pk).update(**{name: value})
    except IntegrityError:  # somebody else's of the same moment
        return


def _may_be(contact: Contact | None, info: ContactInfo) -> bool:
    """Found by the second id alone: the same one, unless the first ids differ."""
    return contact is not None and contact.external_id in ("", info.external_id or contact.external_id)


def new_contact(api_channel: ApiChannel, info: ContactInfo) -> Contact:
    return Contact(api_channel=api_channel, **{field: getattr(info, field)[:limit] for field, limit in LIMITS.items()})


def _learn(told: Iterable[tuple[Contact, ContactInfo]], *, linked: set[int]) -> None:
    """A contact may tell more of itself later: fill what is empty, follow a new name."""
    changed: dict[int, Contact] = {}
    for contact, info in told:
        if id(contact) in linked:
            changed[contact.pk] = contact
        is_set = contact.name_source == Contact.NameSource.PERSON
        if info.name and info.name[:200] != contact.name and not is_set:
            contact.name = info.name[:200]
            changed[contact.pk] = contact
        for field in ("phone", "email"):
            value = getattr(info, field)[: LIMITS[field]]
            if value and not getattr(contact, field):
                setattr(contact, field, value)
                changed[contact.pk] = contact
    if changed:
        fields = ["name", "phone", "email", *(("external_id", "user_id") if linked else ())]
        Contact.objects.bulk_update([changed[pk] for pk in sorted(changed)], fields)
