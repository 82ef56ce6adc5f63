"""Client card: the edit form, the delivery number, and the change history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge.conversations import contact_editing
from bridge.desk import presentation
from bridge.models import ContactChange, Conversation

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


@dataclass(frozen=True, kw_only=True)
class CardChange:
    """One entry of the change history."""

    title: str
    old: str
    new: str
    who: str
    at: str


def card_fields(
    conversation: Conversation, values: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None
) -> list[CardField]:
    contact = conversation.contact
    values, errors = values or {}, errors or {}
    rows = (
        ("name", pgettext("person", "Name"), "text", contact.name, contact_editing.LONGEST_NAME),
        ("phone", _("Phone"), "tel", contact.phone, 40),
        ("email", _("E-mail"), "email", contact.email, contact_editing.LONGEST_EMAIL),
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
    ]


def list_changes(conversation: Conversation, contact_ids: list[int], *, now: datetime) -> list[CardChange]:
    """List the latest changes, newest first."""
    rows = ContactChange.objects.filter(contact__in=contact_ids).select_related("by", "api_channel")
    return [
        CardChange(
            title=str(row.get_field_display()),
            old=row.old,
            new=row.new,
            who=presentation.person_name(row.by) or (row.api_channel.name if row.api_channel else ""),
            at=presentation.format_moment(row.at, now=now),
        )
        for row in rows.order_by("-pk")[:MAX_CHANGES]
    ]


def delivery_number(conversation: Conversation) -> str:
    """Return the number that messages go to if it differs from the phone on the card, else an empty string."""
    contact = conversation.contact
    return presentation.format_phone(contact.external_id) if contact_editing.differs_from_address(contact) else ""
