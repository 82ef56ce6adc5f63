"""Contact resolution: find or create the contact of a message, an echo or an API call.

IDs are compared within their namespace only: the provider's two IDs, the ID in a program's own system, and phone
numbers by their key. New contacts are created under a lock, so that two spellings of one number that arrive at once
become one contact. ``contact_links`` handles IDs that point at two contacts.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
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
    unknown = [item for item in data if item.contact is None]
    index = _ContactIndex(api_channel, unknown)
    if any(index.needs_wide_index(item) for item in unknown):
        _lock_contact_keys(api_channel, unknown)
        index = _ContactIndex(api_channel, unknown, is_wide=True)
        missing = index.build_missing_contacts(unknown)
        Contact.objects.bulk_create(missing, ignore_conflicts=True)
        index = _ContactIndex(api_channel, unknown, is_wide=True)
        index.changes += index.describe_reused_numbers(missing)
    found = iter([index.resolve(item) for item in unknown])
    contacts = [item.contact or next(found) for item in data]
    _update_contacts(zip(contacts, data, strict=True), linked=index.linked)
    return ResolvedContacts(contacts=contacts, changes=index.changes)


def find_contact(api_channel: ApiChannel, info: ContactInfo) -> Contact | None:
    """Return the contact with these IDs or this number, or None. Locked against concurrent creation."""
    data = [ContactData(info=info)]
    _lock_contact_keys(api_channel, data)
    index = _ContactIndex(api_channel, data, is_wide=True)
    return index.find_by_exact_id(info) or index.find_by_number(info) or index.find_by_user_id(info)


def find_by_caller_id(api_channel: ApiChannel, caller_id: str) -> Contact | None:
    """Return the contact with this ID in the caller's system, or None."""
    columns = ("caller_id",) if api_channel.provider.ids_are_phone_numbers else ("caller_id", "external_id")
    return next(iter(_find_contacts(api_channel, {column: {caller_id} for column in columns})), None)


def lock_contacts(contact_ids: Collection[int]) -> set[int]:
    """Keep contacts from being deleted until the transaction ends. Return those that exist."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM bridge_contact WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [sorted(set(contact_ids))]
        )
        return {row[0] for row in cursor.fetchall()}


def _lock_contact_keys(api_channel: ApiChannel, data: Sequence[ContactData]) -> None:
    """Take advisory locks on the IDs and numbers, in one order, until the transaction ends."""
    keys = {key for item in data for key in (get_number_key(api_channel, item.info), *_get_ids(item.info)) if key}
    buckets = sorted({zlib.crc32(f"{api_channel.pk} {key}".encode()) % LOCK_BUCKETS for key in keys})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, bucket) FROM unnest(%s::int[]) AS bucket",
            [int(LockSpace.CONTACTS), [api_channel.pk % 2**24 * LOCK_BUCKETS + bucket for bucket in buckets]],
        )


def _get_ids(info: ContactInfo) -> tuple[str, ...]:
    return tuple(getattr(info, name)[: MAX_LENGTHS[name]] for name in ID_FIELDS)


def get_number_key(api_channel: ApiChannel, info: ContactInfo | Contact) -> str:
    """Return the key of the number at which a person is reached, or "" if unknown.

    If the provider's IDs are phone numbers, the ID decides: the phone on the card may be another one.
    """
    if info.external_id and api_channel.provider.ids_are_phone_numbers:
        return id_key(info.external_id)
    return phone_key(info.phone) or id_key(info.external_id) or id_key(info.caller_id)


# OFFSET 0: one look-up in the column's index for each value, also on a table that was never analyzed. `IN (…)` read all
# contacts of the channel then, and always for more than 100 values, which the planner does not compare with the
# condition of a partial index. `(SELECT …)`: see `message_lookup`.
FIND_CONTACTS_SQL = """
SELECT found.id FROM unnest(%s::text[]) AS wanted(value), LATERAL (
    SELECT c.id FROM bridge_contact c
    WHERE c.api_channel_id = (SELECT %s::bigint) AND c.{column} = wanted.value AND c.{column} <> '' OFFSET 0
) found
"""

# Thousands of contacts may have the same phone. Whether one can be the person depends on which IDs it has
# (`_can_be_same_person`), and the oldest possible one is taken. So for each combination of IDs, the oldest contacts are
# enough, one for each person. IDs with the same number are few: spellings of it.
FIND_BY_PHONE_SQL = """
SELECT found.id FROM unnest(%s::text[]) AS wanted(value), LATERAL (
    SELECT c.id, row_number() OVER (
        PARTITION BY c.external_id = '', c.user_id = '', c.caller_id = '' ORDER BY c.id
    ) AS place
    FROM bridge_contact c
    WHERE c.api_channel_id = (SELECT %s::bigint) AND c.phone_key = wanted.value AND c.phone_key <> ''
        AND c.moved_to_id IS NULL
) found WHERE found.place <= %s
"""


def _find_contacts(api_channel: ApiChannel, values: Mapping[str, set[str]], *, people: int = 1) -> list[Contact]:
    """Return the channel's contacts with one of these values in one of the columns, the oldest first.

    ``people``: how many persons are looked for. Contacts with the same phone that none of them can be are left out.
    """
    statements: list[str] = []
    parameters: list[Any] = []
    for column, known in values.items():
        if those := sorted(known - {""}):
            is_phone = column == "phone_key"
            statements.append(FIND_BY_PHONE_SQL if is_phone else FIND_CONTACTS_SQL.format(column=column))
            parameters += [those, api_channel.pk, *([people] if is_phone else [])]
    if not statements:
        return []
    with connection.cursor() as cursor:
        cursor.execute(" UNION ".join(statements), parameters)
        pks = [row[0] for row in cursor.fetchall()]
    return list(Contact.objects.filter(pk__in=pks).order_by("pk")) if pks else []


class _ContactIndex:
    """Index of the contacts that may match the data. ``is_wide``: also by phone number and former ID."""

    def __init__(self, api_channel: ApiChannel, data: Sequence[ContactData], *, is_wide: bool = False) -> None:
        self.api_channel = api_channel
        self.is_wide = is_wide
        self.linked: set[int] = set()
        self.changes: list[IdentityChange] = []
        self.by_id: dict[tuple[str, str], Contact] = {}
        self.by_key: dict[str, dict[int, Contact]] = {}  # number → contacts by their ID, unsaved ones by their identity
        self.former: dict[tuple[str, str], list[FormerId]] = {}
        infos = [item.info for item in data]
        values: dict[str, set[str]] = {
            name: {getattr(info, name)[: MAX_LENGTHS[name]] for info in infos} for name in ID_FIELDS
        }
        if is_wide:
            values["phone_key"] = values["address_key"] = {get_number_key(api_channel, info) for info in infos}
        for contact in _find_contacts(api_channel, values, people=len(data)):
            self._add(contact)
        if is_wide:
            self._load_former_ids({value for info in infos for value in _get_ids(info) if value})

    def _add(self, contact: Contact) -> None:
        for name in ID_FIELDS:
            if value := getattr(contact, name):
                self.by_id[name, value] = contact
        if self.is_wide and (key := get_number_key(self.api_channel, contact)):
            self.by_key.setdefault(key, {}).setdefault(contact.pk or -id(contact), contact)

    def _load_former_ids(self, values: set[str]) -> None:
        rows = FormerId.objects.filter(api_channel=self.api_channel, value__in=values)
        for row in rows.select_related("contact__moved_to").order_by("until"):
            self.former.setdefault((row.kind, row.value), []).append(row)

    # --- lookups without changes ---

    def find_by_exact_id(self, info: ContactInfo) -> Contact | None:
        """Return the contact with the provider's ID or the caller's ID."""
        external_id, _user_id, caller_id = _get_ids(info)
        return self.by_id.get(("external_id", external_id)) or self.by_id.get(("caller_id", caller_id))

    def find_by_user_id(self, info: ContactInfo) -> Contact | None:
        """Return the contact with this business-scoped user ID. Meta never reassigns one."""
        user_id = info.user_id[: MAX_LENGTHS["user_id"]]
        if not user_id:
            return None
        former = self.former.get((FormerId.Kind.USER_ID, user_id))
        return self.by_id.get(("user_id", user_id)) or (self._get_indexed(former[-1].contact) if former else None)

    def find_former_owner(self, item: ContactData) -> Contact | None:
        """Return the contact that had the number when the message was written, if the number has moved since."""
        rows = self.former.get((FormerId.Kind.EXTERNAL_ID, item.info.external_id[: MAX_LENGTHS["external_id"]]), ())
        for row in rows:
            if item.at is not None and item.at <= row.until:
                return self._get_indexed(row.contact)
        return None

    def find_returning_contact(self, info: ContactInfo) -> Contact | None:
        """Return the contact that lost this number with a user ID change and has no other number since."""
        rows = self.former.get((FormerId.Kind.EXTERNAL_ID, info.external_id[: MAX_LENGTHS["external_id"]]))
        contact = self._get_indexed(rows[-1].contact) if rows and not info.user_id else None
        return contact if contact is not None and contact.user_id and not contact.external_id else None

    def _get_indexed(self, contact: Contact) -> Contact:
        """Return this index's object for a contact that was loaded separately."""
        contact = contact_links.follow_moves(contact)
        indexed = [each for each in self.by_id.values() if each.pk == contact.pk]
        return indexed[0] if indexed else contact

    def find_by_number(self, info: ContactInfo) -> Contact | None:
        """Return the contact with this phone number in any spelling."""
        key = get_number_key(self.api_channel, info)
        known = self.by_key.get(key, {}).values()
        candidates = [contact for contact in known if self._can_be_same_person(contact, info, key)]
        return min(
            candidates,
            key=lambda contact: (contact.address_key != key, bool(contact.external_id), contact.pk or 0),
            default=None,
        )

    def _can_be_same_person(self, contact: Contact, info: ContactInfo, key: str) -> bool:
        """Return whether a contact with the same number can be this person: no other ID contradicts it."""
        if contact.moved_to_id is not None:
            return False
        if contact.user_id and not contact.external_id and info.external_id and not info.user_id:
            return False  # known by user ID only: a person typed the phone, so it may be wrong
        external_id, _user_id, caller_id = _get_ids(info)
        if external_id and id_key(external_id) != key:  # an opaque ID
            if not contact.external_id:
                return True
            return contact.address_key == key and caller_id == external_id and not contact.caller_id
        return not caller_id or id_key(caller_id) == key or contact.caller_id in ("", caller_id)

    def needs_wide_index(self, item: ContactData) -> bool:
        """Return whether the exact IDs are not enough to identify the contact."""
        info = item.info
        has_number = bool(info.external_id or info.caller_id or info.phone)
        unknown_number = has_number and self.find_by_exact_id(info) is None
        return unknown_number or bool(info.user_id and self.find_by_user_id(info) is None)

    def build_missing_contacts(self, data: Sequence[ContactData]) -> list[Contact]:
        """Return unsaved contacts for unknown people. The index cannot be used for ``find`` afterwards."""
        new_contacts = []
        # Items with more IDs first: they connect the IDs of other items.
        for item in sorted(data, key=lambda item: -sum(map(bool, _get_ids(item.info)))):
            info = item.info
            found = self.find_by_exact_id(info) or self.find_former_owner(item) or self.find_returning_contact(info)
            found = found or self.find_by_number(info) or self.find_by_user_id(info)
            if found is None and (any(_get_ids(info)) or get_number_key(self.api_channel, info)):
                found = build_contact(self.api_channel, info)
                self._add(found)
                new_contacts.append(found)
            if found is not None:
                for name, value in zip(ID_FIELDS, _get_ids(info), strict=True):
                    if value:
                        self.by_id.setdefault((name, value), found)
        return new_contacts

    def describe_reused_numbers(self, new_contacts: Sequence[Contact]) -> list[IdentityChange]:
        """Return the changes of new contacts whose number belonged to another contact before."""
        changes = []
        for contact in new_contacts:
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

    # --- lookups with changes ---

    def resolve(self, item: ContactData) -> Contact:
        """Return the contact of one item. Links its IDs and collects changes."""
        info, at = item.info, item.at or timezone.now()
        exact, former = self.find_by_exact_id(info), None
        if exact is None and self.is_wide:
            former = self.find_former_owner(item)
        by_number = exact or former
        if by_number is None and self.is_wide:
            by_number = self.find_returning_contact(info) or self.find_by_number(info)
        by_user = self.find_by_user_id(info)
        if by_number is None and by_user is None:
            contact = build_contact(self.api_channel, info)
            contact.save()
        elif former is not None:
            contact = former  # an old message: newer data on the IDs is already stored
        else:
            contact = self._reconcile(item, by_number, by_user, at=at)
            self._link_ids(contact, item)
        self._add(contact)
        return contact

    def _reconcile(
        self, item: ContactData, by_number: Contact | None, by_user: Contact | None, *, at: datetime
    ) -> Contact:
        """Return one contact for both provider IDs."""
        external_id, user_id, _caller_id = _get_ids(item.info)
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

    def _link_ids(self, contact: Contact, item: ContactData) -> None:
        """Add IDs to a contact that has none of that kind yet."""
        external_id, user_id, caller_id = _get_ids(item.info)
        before = _get_contact_ids(contact)
        if external_id and external_id != contact.external_id:
            is_variant = bool(contact.address_key) and id_key(external_id) == contact.address_key
            is_better = is_variant and item.by_contact and self.api_channel.provider.ids_are_phone_numbers
            if not contact.external_id or is_better:
                contact.external_id = external_id
        if user_id and not contact.user_id:
            contact.user_id = user_id
        if caller_id and not contact.caller_id and caller_id != contact.external_id:
            contact.caller_id = caller_id
        if _get_contact_ids(contact) != before:
            contact.set_keys()
            self.linked.add(contact.pk)


def _get_contact_ids(contact: Contact) -> tuple[str, ...]:
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
    for contact, item in data:
        before = (contact.name, contact.phone, contact.email, contact.username)
        contact.name = resolve_profile_name(contact, item.info.name)
        contact.username = item.info.username[: MAX_LENGTHS["username"]] or contact.username
        for name in ("phone", "email"):
            setattr(contact, name, getattr(contact, name) or getattr(item.info, name)[: MAX_LENGTHS[name]])
        if contact.pk in linked or before != (contact.name, contact.phone, contact.email, contact.username):
            changed[contact.pk] = contact
    if changed:
        fields = ["name", "phone", "email", "username", *(ID_FIELDS if linked else ())]
        Contact.objects.bulk_update([changed[pk] for pk in sorted(changed)], fields)
