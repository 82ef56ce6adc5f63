"""Import of contacts: a dry run that says what would change, then the same in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import contact_editing, contact_fields, contacts
from bridge.conversations.contact_editing import MAX_TAG_LENGTH, MAX_TAGS, InvalidContactData
from bridge.models import (
    Contact,
    ContactConsent,
    ContactField,
    ContactImport,
    Conversation,
    OptOut,
)
from bridge.models.contact_imports import HISTORY
from channels_setup import permissions
from channels_setup.codecs.phone_numbers import phone_key
from channels_setup.models import ApiChannel, ChatChannel

from . import files, import_rows, import_undo
from .import_rows import RESULTS, ImportOptions, PlannedRow

IMPORT_PERMISSION = permissions.IMPORT_CONTACTS
BATCH = 100


def plan_rows(
    api_channel: ApiChannel,
    rows: Sequence[Sequence[str]],
    options: ImportOptions,
    *,
    user: Any,
    first: int = 1,
    seen: dict[str, int] | None = None,
) -> list[PlannedRow]:
    """Return what each row would change. ``seen``: phone keys of earlier rows with their numbers."""
    seen = {} if seen is None else seen
    own_fields = [field for field in contact_fields.list_fields() if _column_name(field) in options.mapping]
    planned = [_read_row(first + index, cells, options.mapping, seen, own_fields) for index, cells in enumerate(rows)]
    known = _find_contacts(api_channel, [row.values["key"] for row in planned if not row.problem])
    visible = _find_visible({contact.pk for contact in known.values()}, user=user)
    stored = {row.contact_id: row for row in ContactConsent.objects.filter(contact__in=known.values())}
    for row in planned:
        if row.problem:
            continue
        contact = known.get(row.values["key"])
        if contact is not None and contact.pk not in visible:
            row.problem = _("This client belongs to a chat channel that you do not see.")
            continue
        row.contact = contact
        row.changes = _find_changes(row, contact, stored.get(contact.pk) if contact else None, options)
    return planned


def _column_name(field: ContactField) -> str:
    return f"{contact_fields.PREFIX}{field.pk}"


def _read_row(
    number: int,
    cells: Sequence[str],
    mapping: Mapping[str, int],
    seen: dict[str, int],
    own_fields: Sequence[ContactField],
) -> PlannedRow:
    row = PlannedRow(number=number, cells=cells)
    texts = {name: cells[column] if column < len(cells) else "" for name, column in mapping.items()}
    fields = {name: texts.get(name, "") for name in (files.PHONE, files.NAME, files.EMAIL)}
    try:
        row.values = dict(contact_editing.validate_card(fields))
    except InvalidContactData as problem:
        row.problem = str(problem)
        return row
    if not row.values["phone"]:
        row.problem = _("There is no phone number.")
        return row
    own: dict[int, str] = {}
    for each in own_fields:
        try:
            own[each.pk] = contact_fields.validate_value(each, texts[_column_name(each)])
        except ValueError as problem:
            row.problem = f"{each.name}: {problem}"
            return row
    key = phone_key(row.values["phone"])
    if key in seen:
        row.problem = _("The same number is in row %(number)d.") % {"number": seen[key]}
        return row
    seen[key] = number
    tags = (" ".join(tag.split())[:MAX_TAG_LENGTH] for tag in texts.get(files.TAGS, "").replace(";", ",").split(","))
    row.values |= {
        "key": key,
        "own": {pk: value for pk, value in own.items() if value},
        "tags": [tag for tag in dict.fromkeys(tags) if tag][:MAX_TAGS],
        "opted_out": texts.get(files.OPTED_OUT, "").casefold() in files.YES,
    }
    return row


def _find_contacts(api_channel: ApiChannel, keys: Sequence[str]) -> dict[str, Contact]:
    """Return the channel's contacts by phone key. A merged contact is replaced by the one that owns its chats."""
    rows = Contact.objects.filter(api_channel=api_channel, erased_at=None).with_phone(keys)
    found: dict[str, Contact] = {}
    for contact in rows.select_related("merged_into").order_by("-pk"):
        for key in {contact.phone_key, contact.address_key} - {""}:
            found[key] = contact.merged_into or contact
    return {key: found[key] for key in keys if key in found}


def _find_visible(contact_ids: set[int], *, user: Any) -> set[int]:
    """Return the contacts with a chat that the user sees, and those without any chat."""
    chats = Conversation.objects.filter(contact__in=contact_ids)
    seen = set(
        chats.filter(chat_channel__in=ChatChannel.objects.list_visible_ids(user)).values_list("contact", flat=True)
    )
    return seen | (contact_ids - set(chats.values_list("contact", flat=True)))


def _find_changes(
    row: PlannedRow, contact: Contact | None, consent: ContactConsent | None, options: ImportOptions
) -> dict[str, Any]:
    """Return the values to store. A name that a person set and a known address stay, unless they are to be replaced."""
    changes: dict[str, Any] = {}
    name, email = row.values["name"], row.values["email"]
    is_free = contact is None or not contact.name or contact.name_source != Contact.NameSource.PERSON
    if name and (is_free or options.replaces) and (contact is None or contact.name != name):
        changes["name"] = name
    if (
        email
        and (contact is None or contact.email != email)
        and (not getattr(contact, "email", "") or options.replaces)
    ):
        changes["email"] = email
    old = contact.tags if contact else []
    known = {tag.casefold() for tag in old}
    tags = [tag for tag in row.values["tags"] if tag.casefold() not in known]
    if tags := tags[: max(MAX_TAGS - len(old), 0)]:
        changes["tags"] = [*old, *tags]
    known_values = contact_fields.read_values(contact) if contact else {}
    own = {
        pk: value
        for pk, value in row.values["own"].items()
        if known_values.get(str(pk), "") != value and (options.replaces or not known_values.get(str(pk)))
    }
    if own:
        changes["own"] = own
    if options.consent and (consent is None or not consent.source):
        changes["consent"] = options.consent
    if row.values["opted_out"] and (consent is None or consent.opt_out != OptOut.ALL):
        changes["opted_out"] = True
    return changes


def count_results(planned: Sequence[PlannedRow]) -> dict[str, int]:
    return {result: sum(row.result == result for row in planned) for result in RESULTS}


@transaction.atomic
def apply_next_batch(import_id: int, *, user: Any) -> ContactImport | None:
    """Apply the next rows of a started import. Return it, or None if it is not the user's or does not exist.

    The rows' lock makes two open pages apply each row once.
    """
    row = (
        ContactImport.objects.select_for_update(of=("self",))
        .select_related("api_channel")
        .filter(pk=import_id, author=user)
        .first()
    )
    if row is None or row.state != ContactImport.State.RUNNING:
        return row
    options = ImportOptions.of_import(row)
    cells = row.rows[row.position : row.position + BATCH]
    planned, seen = _plan_batch(row, cells, options, user=user)
    known = {item.contact.pk for item in planned if item.contact is not None}
    row.listed = sorted({*row.listed, *import_undo.find_created_by_others(row, known)})
    counts = {result: row.counts.get(result, 0) for result in RESULTS}
    new = import_rows.apply_rows(row.api_channel, [item for item in planned if not item.problem], options, user=user)
    row.created |= import_undo.compute_digests(new)
    for item in planned:
        counts[item.result] += 1
    row.refused += [[item.number, item.problem, list(item.cells)] for item in planned if item.problem]
    row.position += len(cells)
    row.counts = counts | {"seen": seen}
    fields = ["refused", "position", "counts", "created", "listed"]
    if row.position >= row.total:
        row.state, row.rows, row.counts = ContactImport.State.DONE, [], counts
        row.finished_at = service_window.database_now()
        row.expires_at = row.finished_at + HISTORY
        fields += ["state", "rows", "finished_at", "expires_at"]
    row.save(update_fields=fields)
    return row


def _plan_batch(
    row: ContactImport, cells: Sequence[Sequence[str]], options: ImportOptions, *, user: Any
) -> tuple[list[PlannedRow], dict[str, int]]:
    """Plan the next rows, and keep their contacts from being deleted. Return the rows and the numbers until now.

    The numbers of earlier rows make sure that a repeated one is refused as in the dry run.
    """
    while True:
        seen: dict[str, int] = dict(row.counts.get("seen", {}))
        planned = plan_rows(row.api_channel, cells, options, user=user, first=row.position + 1, seen=seen)
        known = {item.contact.pk for item in planned if item.contact is not None}
        if contacts.lock_contacts(known) == known:
            return planned, seen
        # The undo of another import has just deleted a contact: its row is new.
