"""Contact resolution: find or create the contact of a message, an echo or an API call.

IDs are compared within their namespace only: the provider's two IDs, the ID in a program's own system, and phone
numbers by their key. New contacts are created under a lock, so that two spellings of one number that arrive at once
become one contact. ``contact_links`` handles IDs that point at two contacts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from bridge.models import Contact, Conversation, FormerId
from channels_setup.advisory_locks import LockSpace
from channels_setup.codecs.phone_numbers import id_key, is_phone_number, phone_key
from channels_setup.codecs.visible_names import visible_name
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo

from . import contact_links
from .contact_links import IdentityChange

MAX_LENGTHS = {
    "external_id": 190,
    "user_id": 160,
    "phone": 32,
    "name": 200,
    "email": 200,
    "caller_id": 190,
    "username": 100,
}
ID_FIELDS = ("external_id", "user_id", "caller_id")
LOCK_BUCKETS = 64  # upper limit of locks in one transaction


@dataclass(frozen=True, kw_only=True)
class ContactData:
    """Data about one person from one message. ``contact``: set if the caller has already found it."""

    info: ContactInfo
    contact: Contact | None = None
    at: datetime | None = None  # the provider's time of the message
    by_contact: bool = True  # the contact wrote it, so the number is in the provider's spelling


@dataclass(kw_only=True)
class ResolvedContacts:
    """Resolved contacts in the order of the input, and the changes to announce once their chats exist."""

    contacts: list[Contact]
    changes: list[IdentityChange] = field(default_factory=list)


def resolve_contacts(api_channel: ApiChannel, data: Sequence[ContactData]) -> ResolvedContacts:
    """Find or create the contact of each item, and save its new data."""
    unknown = [one for one in data if one.contact is None]
    index = _ContactIndex(api_channel, unknown)
    if any(index.misses(one) for one in unknown):
        _lock_contact_keys(api_channel, unknown)
        index = _ContactIndex(api_channel, unknown, widely=True)
        missing = index.missing(unknown)
        Contact.objects.bulk_create(missing, ignore_conflicts=True)
        index = _ContactIndex(api_channel, unknown, widely=True)
        index.changes += index.reused(missing)
    found = iter([index.find(one) for one in unknown])
    contacts = [one.contact or next(found) for one in data]
    _update_contacts(zip(contacts, data, strict=True), linked=index.linked)
    return ResolvedContacts(contacts=contacts, changes=index.changes)


def find_contact(api_channel: ApiChannel, info: ContactInfo) -> Contact | None:
    """Return the contact with these IDs or this number, or None. Locked against concurrent creation."""
    data = [ContactData(info=info)]
    _lock_contact_keys(api_channel, data)
    index = _ContactIndex(api_channel, data, widely=True)
    return index.exactly(info) or index.by_number(info) or index.by_user(info)


def find_by_caller_id(api_channel: ApiChannel, caller_id: str) -> Contact | None:
    """Return the contact with this ID in the caller's system, or None."""
    mine = Q(caller_id=caller_id)
    if not api_channel.provider.ids_are_phone_numbers:
        mine |= Q(external_id=caller_id)
    return Contact.objects.filter(mine, api_channel=api_channel).order_by("pk").first()


def _lock_contact_keys(api_channel: ApiChannel, data: Sequence[ContactData]) -> None:
    """Take advisory locks on the IDs and numbers, in one order, until the transaction ends."""
    words = {word for one in data for word in (get_number_key(api_channel, one.info), *_ids(one.info)) if word}
    buckets = sorted({zlib.crc32(f"{api_channel.pk} {word}".encode()) % LOCK_BUCKETS for word in words})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, bucket) FROM unnest(%s::int[]) AS bucket",
            [int(LockSpace.CONTACTS), [api_channel.pk % 2**24 * LOCK_BUCKETS + bucket for bucket in buckets]],
        )


def _ids(info: ContactInfo) -> tuple[str, ...]:
    return tuple(getattr(info, name)[: MAX_LENGTHS[name]] for name in ID_FIELDS)


def get_number_key(api_channel: ApiChannel, info: ContactInfo | Contact) -> str:
    """Return the key of the number at which a person is reached, or "" if unknown.

    If the provider's IDs are phone numbers, the ID decides: the phone on the card may be another one.
    """
    if info.external_id and api_channel.provider.ids_are_phone_numbers:
        return id_key(info.external_id)
    return phone_key(info.phone) or id_key(info.external_id) or id_key(info.caller_id)


class _ContactIndex:
    """Index of the contacts that may match. ``widely``: also by phone number and former ID."""

    def __init__(self, api_channel: ApiChannel, data: Sequence[ContactData], *, widely: bool = False) -> None:
        self.api_channel = api_channel
        self.widely = widely
        self.linked: set[int] = set()
        self.changes: list[IdentityChange] = []
        self.by_id: dict[tuple[str, str], Contact] = {}
        self.by_key: dict[str, list[Contact]] = {}
        self.former: dict[tuple[str, str], list[FormerId]] = {}
        infos = [one.info for one in data]
        wanted = Q()
        for name in ID_FIELDS:
            if values := {getattr(info, name)[: MAX_LENGTHS[name]] for info in infos} - {""}:
                wanted |= Q(**{f"{name}__in": values})
        if widely and (keys := {get_number_key(api_channel, info) for info in infos} - {""}):
            wanted |= Q(phone_key__in=keys) | Q(address_key__in=keys)
        for contact in Contact.objects.filter(wanted, api_channel=api_channel).order_by("pk") if wanted else ():
            self._note(contact)
        if widely:
            self._read_former({value for info in infos for value in _ids(info) if value})

    def _note(self, contact: Contact) -> None:
        for name in ID_FIELDS:
            if value := getattr(contact, name):
                self.by_id[name, value] = contact
        if self.widely and (key := get_number_key(self.api_channel, contact)):
            known = self.by_key.setdefault(key, [])
            if contact not in known:
                known.append(contact)

    def _read_former(self, values: set[str]) -> None:
        rows = FormerId.objects.filter(api_channel=self.api_channel, value__in=values)
        for row in rows.select_related("contact__moved_to").order_by("until"):
            self.former.setdefault((row.kind, row.value), []).append(row)

    # --- look-ups without changes ---

    def exactly(self, info: ContactInfo) -> Contact | None:
        """Return the contact with the provider's ID or the caller's ID."""
        external_id, _user_id, caller_id = _ids(info)
        return self.by_id.get(("external_id", external_id)) or self.by_id.get(("caller_id", caller_id))

    def by_user(self, info: ContactInfo) -> Contact | None:
        """Return the contact with this business-scoped user ID. Meta never reassigns one."""
        user_id = info.user_id[: MAX_LENGTHS["user_id"]]
        if not user_id:
            return None
        former = self.former.get((FormerId.Kind.USER_ID, user_id))
        return self.by_id.get(("user_id", user_id)) or (self._same(former[-1].contact) if former else None)

    def before(self, one: ContactData) -> Contact | None:
        """Return the contact that had the number when the message was written, if the number has moved since."""
        rows = self.former.get((FormerId.Kind.EXTERNAL_ID, one.info.external_id[: MAX_LENGTHS["external_id"]]), ())
        for row in rows:
            if one.at is not None and one.at <= row.until:
                return self._same(row.contact)
        return None

    def returned(self, info: ContactInfo) -> Contact | None:
        """Return the contact that lost this number with a user ID change and has no other number since."""
        rows = self.former.get((FormerId.Kind.EXTERNAL_ID, info.external_id[: MAX_LENGTHS["external_id"]]))
        contact = self._same(rows[-1].contact) if rows and not info.user_id else None
        return contact if contact is not None and contact.user_id and not contact.external_id else None

    def _same(self, contact: Contact) -> Contact:
        """Return this index's object for a contact that was loaded separately."""
        contact = contact_links.follow_moves(contact)
        known = [one for one in self.by_id.values() if one.pk == contact.pk]
        return known[0] if known else contact

    def by_number(self, info: ContactInfo) -> Contact | None:
        """Return the contact with this phone number in any spelling."""
        key = get_number_key(self.api_channel, info)
        fitting = [contact for contact in self.by_key.get(key, ()) if self._may_be(contact, info, key)]
        return min(fitting, key=lambda one: (one.address_key != key, bool(one.external_id), one.pk or 0), default=None)

    def _may_be(self, contact: Contact, info: ContactInfo, key: str) -> bool:
        """Return whether a contact with the same number can be this person: no other ID contradicts it."""
        if contact.moved_to_id is not None:
            return False
        if contact.user_id and not contact.external_id and info.external_id and not info.user_id:
            return False  # known by user ID alone: the phone was typed by a person and may be wrong
        external_id, _user_id, caller_id = _ids(info)
        if external_id and id_key(external_id) != key:  # an opaque ID
            if not contact.external_id:
                return True
            return contact.address_key == key and caller_id == external_id and not contact.caller_id
        return not caller_id or id_key(caller_id) == key or contact.caller_id in ("", caller_id)

    def misses(self, one: ContactData) -> bool:
        """Return whether the exact IDs are not enough to identify the contact."""
        info = one.info
        has_number = bool(info.external_id or info.caller_id or info.phone)
        unknown_number = has_number and self.exactly(info) is None
        return unknown_number or bool(info.user_id and self.by_user(info) is None)

    def missing(self, data: Sequence[ContactData]) -> list[Contact]:
        """Return unsaved contacts for unknown people. The index cannot be used for ``find`` afterwards."""
        made = []
        # Items with more IDs first: they connect the IDs of other items.
        for one in sorted(data, key=lambda one: -sum(map(bool, _ids(one.info)))):
            info = one.info
            found = self.exactly(info) or self.before(one) or self.returned(info)
            found = found or self.by_number(info) or self.by_user(info)
            if found is None and (any(_ids(info)) or get_number_key(self.api_channel, info)):
                found = build_contact(self.api_channel, info)
                self._note(found)
                made.append(found)
            if found is not None:
                for name, value in zip(ID_FIELDS, _ids(info), strict=True):
                    if value:
                        self.by_id.setdefault((name, value), found)
        return made

    def reused(self, made: Sequence[Contact]) -> list[IdentityChange]:
        """Return the changes of new contacts whose number belonged to another contact before."""
        changes = []
        for contact in made:
            if rows := self.former.get((FormerId.Kind.EXTERNAL_ID, contact.external_id)):
                new, former = (
                    self.by_id["external_id", contact.external_id],
                    contact_links.follow_moves(rows[-1].contact),
                )
                details = {"number": contact_links.display_id(new)}
                changes.append(
                    IdentityChange(contact=new, reason="contact_number_reused", details=details, other=former)
                )
        return changes

    # --- look-ups with changes ---

    def find(self, one: ContactData) -> Contact:
        """Return the contact of one item. Links its IDs and collects changes."""
        info, at = one.info, one.at or timezone.now()
        exact, former = self.exactly(info), None
        if exact is None and self.widely:
            former = self.before(one)
        by_number = exact or former
        if by_number is None and self.widely:
            by_number = self.returned(info) or self.by_number(info)
        by_user = self.by_user(info)
        if by_number is None and by_user is None:
            contact = build_contact(self.api_channel, info)
            contact.save()
        elif former is not None:
            contact = former  # an old message: newer data on the IDs is already stored
        else:
            contact = self._reconcile(one, by_number, by_user, at=at)
            self._link(contact, one)
        self._note(contact)
        return contact

    def _reconcile(
        self, one: ContactData, by_number: Contact | None, by_user: Contact | None, *, at: datetime
    ) -> Contact:
        """Return one contact for both provider IDs."""
        external_id, user_id, _caller_id = _ids(one.info)
        if by_number is None or by_user is None or by_number is by_user:
            contact = by_number or by_user
            assert contact is not None
            if by_number is None and external_id and contact.external_id:
                self.by_id.pop(("external_id", contact.external_id), None)
                self.changes += contact_links.change_number(contact, external_id, at=at)
            if by_user is None and user_id and contact.user_id:
                self.changes += contact_links.change_number(
                    contact, "", user_id=user_id, at=at, reason="contact_user_id_changed"
                )
            return contact
        if not by_number.user_id:
            self.changes += contact_links.move_contact(by_user, by_number, at=at)
            self.by_id["user_id", user_id] = by_number
            return by_number
        self.changes += contact_links.transfer_number(by_number, external_id, by_user, at=at)
        self.by_id["external_id", external_id] = by_user
        return by_user

    def _link(self, contact: Contact, one: ContactData) -> None:
        """Add IDs to a contact that has none of that kind yet."""
        external_id, user_id, caller_id = _ids(one.info)
        before = _ids_of(contact)
        if external_id and external_id != contact.external_id:
            is_variant = bool(contact.address_key) and id_key(external_id) == contact.address_key
            is_better = is_variant and one.by_contact and self.api_channel.provider.ids_are_phone_numbers
            if not contact.external_id or is_better:
                contact.external_id = external_id
        if user_id and not contact.user_id:
            contact.user_id = user_id
        if caller_id and not contact.caller_id and caller_id != contact.external_id:
            contact.caller_id = caller_id
        if _ids_of(contact) != before:
            contact.set_keys()
            self.linked.add(contact.pk)


def _ids_of(contact: Contact) -> tuple[str, ...]:
    return tuple(getattr(contact, name) for name in ID_FIELDS)


def learn_recipient_ids(ids_by_chat: Mapping[int, ContactInfo]) -> None:
    """Save the provider's IDs of recipients from send responses. Keys are conversation IDs.

    The provider may spell a number differently and will use its own spelling in the contact's replies. An ID that
    belongs to another contact stays there.
    """
    ids_by_chat = {pk: info for pk, info in ids_by_chat.items() if info.external_id or info.user_id}
    if not ids_by_chat:
        return
    chats = Conversation.objects.filter(pk__in=ids_by_chat).select_related("contact")
    for chat in chats.order_by("contact_id"):
        contact, info = chat.contact, ids_by_chat[chat.pk]
        for name in ("external_id", "user_id"):
            value = getattr(info, name)[: MAX_LENGTHS[name]]
            if value and value != getattr(contact, name) and (name == "external_id" or not contact.user_id):
                _set_id_if_free(contact, name, value)


def _set_id_if_free(contact: Contact, name: str, value: str) -> None:
    taken = Contact.objects.filter(api_channel=contact.api_channel_id, **{name: value})
    try:
        with transaction.atomic():
            if not taken.exists():
                Contact.objects.filter(pk=contact.pk).update(**{name: value})
    except IntegrityError:  # another transaction took the ID
        return


def build_contact(api_channel: ApiChannel, info: ContactInfo) -> Contact:
    """Return an unsaved contact with this data."""
    values = {name: getattr(info, name)[:limit] for name, limit in MAX_LENGTHS.items()}
    if values["caller_id"] == values["external_id"]:
        values["caller_id"] = ""
    contact = Contact(api_channel=api_channel, **values | {"name": ""})
    contact.set_keys()
    contact.name = resolve_profile_name(contact, info.name)
    return contact


def resolve_profile_name(contact: Contact, profile_name: str) -> str:
    """Return the contact's name after it sent this profile name."""
    name = visible_name(profile_name, MAX_LENGTHS["name"])
    if not name or contact.name_source == Contact.NameSource.PERSON:
        return contact.name
    if is_phone_number(name) and (contact.shown_name or phone_key(name) in (contact.phone_key, contact.address_key)):
        return contact.name  # a number never replaces a name, and the contact's own number is no name
    return name


def _update_contacts(data: Iterable[tuple[Contact, ContactData]], *, linked: set[int]) -> None:
    """Save new data of contacts: fill empty fields, follow a new profile name."""
    changed: dict[int, Contact] = {}
    for contact, one in data:
        before = (contact.name, contact.phone, contact.email, contact.username)
        contact.name = resolve_profile_name(contact, one.info.name)
        contact.username = one.info.username[: MAX_LENGTHS["username"]] or contact.username
        for name in ("phone", "email"):
            setattr(contact, name, getattr(contact, name) or getattr(one.info, name)[: MAX_LENGTHS[name]])
        if contact.pk in linked or before != (contact.name, contact.phone, contact.email, contact.username):
            changed[contact.pk] = contact
    if changed:
        fields = ["name", "phone", "email", "username", *(ID_FIELDS if linked else ())]
        Contact.objects.bulk_update([changed[pk] for pk in sorted(changed)], fields)
