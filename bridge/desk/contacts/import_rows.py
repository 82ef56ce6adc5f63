"""Rows of an import: what each changes, and how the changes are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from bridge.conversations import consents, contact_editing, contact_fields, contacts
from bridge.models import Contact, ContactChange, ContactImport, OptOut, OptOutSource
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo

NEW, CHANGED, UNCHANGED, REFUSED = "new", "changed", "unchanged", "refused"
RESULTS = (NEW, CHANGED, UNCHANGED, REFUSED)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    mapping: Mapping[str, int]
    consent: str = ""
    note: str = ""
    replaces: bool = False  # names and email addresses that are known

    @classmethod
    def of_import(cls, row: ContactImport) -> ImportOptions:
        return cls(**row.options)


@dataclass(kw_only=True)
class PlannedRow:
    """One row of the file, and what it changes. ``problem``: why it is refused."""

    number: int  # 1-based, without the titles
    cells: Sequence[str]
    values: dict[str, Any] = field(default_factory=dict)
    contact: Contact | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def result(self) -> str:
        if self.problem:
            return REFUSED
        return NEW if self.contact is None else CHANGED if self.changes else UNCHANGED


def apply_rows(api_channel: ApiChannel, items: Sequence[PlannedRow], options: ImportOptions, *, user: Any) -> list[int]:
    """Apply rows. Return the contacts that did not exist before.

    New contacts, tags, consents and opt-outs are stored with a fixed number of statements.
    """
    new = [item for item in items if item.contact is None]
    began = timezone.now()
    created = _create_contacts(api_channel, [item.values for item in new])
    contact_ids = {item.number: contact.pk for item, contact in zip(new, created, strict=True)}
    contact_ids |= {item.number: item.contact.pk for item in items if item.contact is not None}
    by = contact_editing.Editor(source=ContactChange.Source.OPERATOR, user=user)
    tagged, agreed, opted_out = [], [], []
    for item in items:
        pk = contact_ids[item.number]
        card: dict[str, str] = {name: item.changes[name] for name in ("name", "email") if name in item.changes}
        if card and item.contact is not None:
            contact_editing.edit_contact(pk, card, by=by)
        if "own" in item.changes and item.contact is not None:
            contact_fields.edit_fields(pk, item.changes["own"], by=by)
        if "tags" in item.changes:
            tagged.append(Contact(pk=pk, tags=item.changes["tags"]))
        if "consent" in item.changes:
            agreed.append(pk)
        if "opted_out" in item.changes:
            opted_out.append(pk)
    if tagged:
        QuerySet[Contact](Contact).bulk_update(tagged, ["tags"])  # the keys do not change
    consents.set_opt_outs(
        [
            consents.OptOutReport(contact_id=pk, opt_out=OptOut.ALL, source=OptOutSource.IMPORT, by=user)
            for pk in opted_out
        ]
    )
    consents.record_consents(agreed, options.consent, note=options.note, by=user)
    return [contact.pk for contact in created if contact.created_at >= began]


def _create_contacts(api_channel: ApiChannel, rows: Sequence[Mapping[str, Any]]) -> list[Contact]:
    """Create contacts as if they had written. One who did so since the dry run is found instead."""
    ids_are_phones = api_channel.provider.ids_are_phone_numbers
    data = [
        contacts.ContactData(
            info=ContactInfo(
                external_id=row["phone"].removeprefix("+") if ids_are_phones else "",
                phone=row["phone"],
                name=row["name"],
                email=row["email"],
            ),
            by_contact=False,
        )
        for row in rows
    ]
    created = contacts.resolve_contacts(api_channel, data).contacts if data else []
    filled = []
    for contact, row in zip(created, rows, strict=True):
        if row["own"] and not contact_fields.read_values(contact):
            values = {str(pk): value for pk, value in row["own"].items()}
            contact.card = {**contact.card, contact_fields.CARD_KEY: values}
            filled.append(contact)
    if filled:
        QuerySet[Contact](Contact).bulk_update(filled, ["card"])
    named = [contact.pk for contact, row in zip(created, rows, strict=True) if row["name"] == contact.name]
    Contact.objects.filter(pk__in=named).exclude(name="").update(name_source=Contact.NameSource.PERSON)
    return created
