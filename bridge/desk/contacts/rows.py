"""Rows of the Contacts page, loaded with a fixed number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from bridge.conversations import consents
from bridge.desk import presentation
from bridge.models import ConsentSource, Contact, ContactConsent, Conversation

from .listing import ContactScope


@dataclass(frozen=True, kw_only=True)
class ContactRow:
    contact: Contact
    name: str
    phone: str
    chat: int | None  # the newest one that the user may see
    last_at: str
    opt_out: str
    consent: str
    may_write: bool
    obstacle: str  # why nobody can write first, for a client without a chat


def load_rows(
    ids: Sequence[int], *, scope: ContactScope, start_problems: Mapping[int, str], now: datetime
) -> list[ContactRow]:
    """Return the rows of these contacts, in their order.

    ``start_problems``: API channel → why no chat can be started on it, or "".
    """
    contacts = Contact.objects.select_related("api_channel").in_bulk(ids)
    stored = {row.contact_id: row for row in ContactConsent.objects.filter(contact__in=ids)}
    opt_outs = consents.find_contact_opt_outs(contacts.values(), stored)
    sources = {pk: row.source for pk, row in stored.items()}
    chats = Conversation.objects.filter(contact__in=ids, chat_channel__in=scope.chat_channels)
    newest = {
        contact: (pk, at)
        for contact, pk, at in chats.order_by("last_message_at").values_list("contact", "pk", "last_message_at")
    }
    found = []
    for pk in ids:
        contact = contacts.get(pk)
        if contact is None:
            continue
        chat, at = newest.get(pk, (None, None))
        name, phone = presentation.contact_name(contact), presentation.contact_phone(contact)
        obstacle = start_problems.get(contact.api_channel_id) if contact.phone else _("The phone number is unknown.")
        found.append(
            ContactRow(
                contact=contact,
                name=name,
                phone="" if phone == name else phone,
                chat=chat,
                last_at=presentation.format_short_moment(at, now=now) if at else "",
                opt_out=str(opt_outs[pk].label) if opt_outs.get(pk) else "",
                consent=str(ConsentSource(sources[pk]).label) if sources.get(pk) else "",
                may_write=chat is None and obstacle == "",
                obstacle="" if chat else obstacle or "",
            )
        )
    return found
