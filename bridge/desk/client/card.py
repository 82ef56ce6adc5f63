"""Client card: the edit form, the delivery number, and the change history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy

from bridge import phone_visibility
from bridge.conversations import contact_editing, contact_fields
from bridge.desk import presentation
from bridge.models import ContactChange, ContactField, Conversation
from channels_setup.prepared_queries import PreparedQuery

MAX_CHANGES = 20


@dataclass(frozen=True, kw_only=True)
class CardField:
    """One field of the edit form."""

    name: str
    label: str
    kind: str
    value: str
    shown: str  # the value when the form was opened, to detect concurrent edits
    complete: str
    limit: int
    error: str = ""
    options: tuple[tuple[str, str], ...] = ()  # of a field with given values


@dataclass(frozen=True, kw_only=True)
class CardChange:
    """One entry of the change history."""

    title: str
    old: str
    new: str
    who: str
    at: str


def card_fields(
    conversation: Conversation,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    *,
    own_fields: Sequence[ContactField],
) -> list[CardField]:
    contact = conversation.contact
    values, errors = values or {}, errors or {}
    shown_name = phone_visibility.visible_id(contact.name, contact.api_channel_id)
    hides_phone = bool(contact.phone) and phone_visibility.hides_phones(contact.api_channel_id)
    rows = (
        ("name", pgettext("person", "Name"), "text", shown_name, contact_editing.LONGEST_NAME),
        ("phone", _("Phone"), "tel", contact.phone, 40),
        ("email", _("Email"), "email", contact.email, contact_editing.LONGEST_EMAIL),
    )
    return [
        CardField(
            name=name,
            label=label,
            kind=kind,
            value=values.get(name, stored),
            shown=values.get(f"was_{name}", stored),
            complete="off",
            limit=limit,
            error=errors.get(name, ""),
        )
        for name, label, kind, stored, limit in rows
        if not (hides_phone and name == "phone")  # a hidden phone cannot be changed blindly
    ] + [_additional_field(conversation, field, values, errors) for field in own_fields]


def _additional_field(
    conversation: Conversation, field: ContactField, values: Mapping[str, str], errors: Mapping[str, str]
) -> CardField:
    name, stored = f"{contact_fields.PREFIX}{field.pk}", contact_fields.read_values(conversation.contact)
    value = stored.get(str(field.pk), "")
    options: list[tuple[str, str]] = []
    if field.kind == ContactField.Kind.CHECKBOX:
        options = [("", _("no")), (contact_fields.YES, _("yes"))]
    elif field.kind == ContactField.Kind.CHOICE:
        options = [("", "—"), *((option, option) for option in field.options)]
        if value and value not in field.options:  # an admin has removed it
            options.append((value, value))
    return CardField(
        name=name,
        label=field.name,
        kind="text",
        value=values.get(name, value),
        shown=values.get(f"was_{name}", value),
        complete="off",
        limit=contact_fields.MAX_LENGTH,
        error=errors.get(name, ""),
        options=tuple(options),
    )


CARD_TITLES = (
    ("company_name", gettext_lazy("Company")),
    ("position", pgettext_lazy("job", "Position")),
    ("addresses", gettext_lazy("Address")),
    ("sites", gettext_lazy("Website")),
    ("social_networks", gettext_lazy("Social network")),
)


def list_card_values(conversation: Conversation, own_fields: Sequence[ContactField]) -> list[tuple[str, str]]:
    """Return title and text of what programs and operators entered about the client."""
    card = conversation.contact.card
    rows = [(str(title), _join_values(card.get(key))) for key, title in CARD_TITLES]
    return [row for row in rows if row[1]] + contact_fields.show_values(conversation.contact, own_fields)


def _join_values(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(filter(None, map(_join_values, value.values())))
    if isinstance(value, list):
        return "; ".join(filter(None, map(_join_values, value)))
    return str(value) if value not in (None, "", False) else ""


def _find_changes(rows: QuerySet[ContactChange]) -> QuerySet[ContactChange]:
    return rows.select_related("by", "api_channel", "contact").order_by("-pk")[:MAX_CHANGES]


CHANGES_OF_ONE: PreparedQuery[ContactChange] = PreparedQuery(
    lambda contact: _find_changes(ContactChange.objects.filter(contact=contact))
)


def list_changes(conversation: Conversation, contact_ids: list[int], *, now: datetime) -> list[CardChange]:
    """List the latest changes, newest first."""
    if len(contact_ids) == 1:
        rows = CHANGES_OF_ONE(*contact_ids)
    else:
        rows = list(_find_changes(ContactChange.objects.filter(contact__in=contact_ids)))
    return [
        CardChange(
            title=str(row.get_field_display()),
            old=row.visible_values[0],
            new=row.visible_values[1],
            who=presentation.person_name(row.by) or (row.api_channel.name if row.api_channel else ""),
            at=presentation.format_moment(row.at, now=now),
        )
        for row in rows
    ]


def delivery_number(conversation: Conversation) -> str:
    """Return the number that messages go to if it differs from the phone on the card, else an empty string."""
    contact = conversation.contact
    if not contact_editing.differs_from_address(contact):
        return ""
    return presentation.contact_number(contact, contact.external_id)
