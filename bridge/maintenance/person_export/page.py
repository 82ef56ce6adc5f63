"""The readable page of an export: one HTML file without scripts, in the language of the person who asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from bridge.conversations import contact_fields
from bridge.models import (
    Attachment,
    ContactChange,
    ContactNote,
    Conversation,
    ConversationNote,
    Draft,
    FormerId,
    HeldReply,
    Message,
    Ticket,
    TicketField,
    Upload,
)

from .sections import SECTIONS, Scope, list_chat_people

BATCH = 200
MAX_VALUES = 60  # of one message's structured content
FOLDER = "bridge/person_export"


@dataclass(frozen=True, kw_only=True)
class PageFile:
    name: str
    size: int | None
    link: str  # relative; empty if the file is not stored


@dataclass(frozen=True, kw_only=True)
class PageMessage:
    """A message as the page shows it."""

    pk: int
    at: datetime
    who: str
    text: str
    status: str
    problem: str
    values: list[tuple[str, str]]
    reactions: list[str]
    quoted: int | None
    files: list[PageFile]


def generate_page(scope: Scope, stored: Mapping[str, str], *, made_at: datetime) -> Iterator[str]:
    """Yield the page in parts of limited size."""
    yield render_to_string(
        f"{FOLDER}/head.html",
        {
            "language": translation.get_language(),
            "made_at": made_at,
            "zone": timezone.get_current_timezone_name(),
            "portal": settings.PUBLIC_URL,
            "contacts": [describe_contact(scope, number) for number in range(len(scope.contacts))],
            "changes": list(ContactChange.objects.filter(contact__in=scope.contact_ids).order_by("pk")),
            "notes": list(ContactNote.objects.filter(contact__in=scope.contact_ids).order_by("pk")),
        },
    )
    people = list_chat_people(scope)
    chats = Conversation.objects.filter(pk__in=scope.chats).select_related("api_channel", "chat_channel", "contact")
    for chat in chats.order_by("pk"):
        yield render_to_string(f"{FOLDER}/chat.html", _describe_chat(chat, people[chat.pk], stored))
        ids = sorted(Message.objects.filter(conversation=chat).order_by().values_list("pk", flat=True))
        for start in range(0, len(ids), BATCH):
            rows = Message.objects.filter(pk__in=ids[start : start + BATCH]).prefetch_related("attachments")
            messages = [describe_message(row, stored) for row in rows.order_by("pk")]
            yield render_to_string(f"{FOLDER}/messages.html", {"messages": messages})
    counts = [(section, len(section.list_ids(scope))) for section in SECTIONS]
    yield render_to_string(f"{FOLDER}/end.html", {"sections": [(s.name, s.about, n) for s, n in counts if n]})


def describe_contact(scope: Scope, number: int) -> dict[str, Any]:
    contact = scope.contacts[number]
    rows = [
        (_("API channel"), contact.api_channel.name),
        (_("Name"), contact.name),
        (_("Phone"), contact.phone),
        (_("Email"), contact.email),
        (_("User name"), contact.username),
        (_("Provider ID"), contact.external_id),
        (_("User ID"), contact.user_id),
        (_("ID in the caller's system"), contact.caller_id),
        (_("Former IDs"), ", ".join(FormerId.objects.filter(contact=contact).values_list("value", flat=True))),
        (_("Tags"), ", ".join(contact.tags)),
        *flatten_values({key: value for key, value in contact.card.items() if key != contact_fields.CARD_KEY}),
        *contact_fields.show_values(contact, contact_fields.list_fields()),
    ]
    return {"pk": contact.pk, "rows": [row for row in rows if row[1]], "first_seen": contact.created_at}


def _describe_chat(chat: Conversation, people: list[Any], stored: Mapping[str, str]) -> dict[str, Any]:
    titles = dict(TicketField.objects.values_list("pk", "name"))
    tickets = list(Ticket.objects.filter(conversation=chat).order_by("pk"))
    uploads = Upload.objects.filter(conversation=chat, message=None).order_by("pk")
    return {
        "chat": chat,
        "people": people if len(people) > 1 else [],
        "tickets": [(ticket, _list_ticket_fields(ticket, titles)) for ticket in tickets],
        "chat_notes": list(ConversationNote.objects.filter(conversation=chat).order_by("pk")),
        "drafts": list(Draft.objects.filter(conversation=chat).order_by("pk")),
        "held_replies": list(HeldReply.objects.filter(conversation=chat).order_by("pk")),
        "files": [_describe_file(upload, stored) for upload in uploads],
    }


def _list_ticket_fields(ticket: Ticket, titles: Mapping[int, str]) -> list[tuple[str, str]]:
    return [
        (titles.get(int(key), key) if key.isdecimal() else key, str(value))
        for key, value in ticket.custom_fields.items()
    ]


def describe_message(message: Message, stored: Mapping[str, str]) -> PageMessage:
    shown = message.shown if isinstance(message.shown, dict) else {}
    reactions = message.reactions if isinstance(message.reactions, list) else []
    return PageMessage(
        pk=message.pk,
        at=message.provider_time or message.created_at,
        who=str(message.get_direction_display()),
        text=message.localized_text or (message.sentence if message.direction == Message.Direction.NOTICE else ""),
        status="" if message.direction == Message.Direction.NOTICE else str(message.get_status_display()),
        problem=message.sentence if message.direction != Message.Direction.NOTICE else "",
        values=[*flatten_values(shown), *flatten_values(message.template or {})][:MAX_VALUES],
        reactions=[str(one.get("emoji", "")) for one in reactions if isinstance(one, dict)],
        quoted=message.quoted_id,
        files=[_describe_file(attachment, stored) for attachment in message.attachments.all()],
    )


def _describe_file(row: Attachment | Upload, stored: Mapping[str, str]) -> PageFile:
    link = quote(stored.get(row.file.name or "", ""))
    return PageFile(name=row.name or getattr(row, "url", "") or _("file"), size=row.size, link=link)


def flatten_values(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return the scalars of a JSON value with their paths, such as ``cards 1 phones 1``."""
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list):
        items = [(str(number), inner) for number, inner in enumerate(value, 1)]
    else:
        return [(path, str(value))] if value not in (None, "", False) else []
    return [row for key, inner in items for row in flatten_values(inner, f"{path} {key}".strip())]
