"""Template context of the client pane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest

from bridge import phone_visibility
from bridge.conversations import consents, contact_fields
from bridge.desk import access, presentation
from bridge.files import uploads
from bridge.maintenance import erasure, person_export
from bridge.merging import rules
from bridge.models import ConsentSource, ContactNote, Conversation, Upload
from channels_setup.prepared_queries import PreparedQuery
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.models import Template

from . import card, merges, orders

MAX_NOTES = 20
MAX_FILES = 10
MAX_VALUES = 8


@dataclass(frozen=True, kw_only=True)
class ClientNote:
    pk: int
    text: str
    author: str
    at: str
    is_mine: bool
    is_edited: bool


@dataclass(frozen=True, kw_only=True)
class LinkedFile:
    upload: Upload
    link: str
    until: str
    is_expired: bool


def _newest_notes(rows: QuerySet[ContactNote]) -> QuerySet[ContactNote]:
    return rows.select_related("author").order_by("-pk")[:MAX_NOTES]


NOTES_OF_ONE: PreparedQuery[ContactNote] = PreparedQuery(
    lambda contact: _newest_notes(ContactNote.objects.filter(contact=contact))
)
LINKED_FILES: PreparedQuery[Upload] = PreparedQuery(
    lambda chat: Upload.objects.filter(conversation=chat, message=None).order_by("-pk")[:MAX_FILES]
)
TEMPLATES_SENT_SQL = """
SELECT template FROM bridge_message WHERE conversation_id = %s AND kind = 'template' AND template IS NOT NULL
ORDER BY id DESC LIMIT 5
"""


def build_client_context(request: HttpRequest, conversation: Conversation, *, now: datetime) -> dict[str, Any]:
    """Build the context of the client pane with a fixed number of queries."""
    user: Any = request.user
    contact = conversation.contact
    people = access.list_visible_people(request, contact)
    ids = [person.pk for person in people]
    own_fields = contact_fields.list_fields()
    notes = NOTES_OF_ONE(*ids) if len(ids) == 1 else _newest_notes(ContactNote.objects.filter(contact__in=ids))
    sends_files = conversation.api_channel.provider.sends_files
    return {
        "notes": [
            ClientNote(
                pk=note.pk,
                text=note.text,
                author=presentation.person_name(note.author),
                at=presentation.format_moment(note.created_at, now=now),
                is_mine=note.author_id == user.pk,
                is_edited=note.edited_at is not None,
            )
            for note in notes
        ],
        "linked_files": []
        if sends_files
        else [
            LinkedFile(
                upload=upload,
                link=uploads.build_share_link(upload),
                until=presentation.format_day(upload.expires_at, now=now),
                is_expired=upload.expires_at <= now,
            )
            for upload in LINKED_FILES(conversation.pk)
        ],
        "consent": consents.get_consent(contact),
        "consent_sources": ConsentSource.choices,
        "card_fields": card.card_fields(conversation, own_fields=own_fields),
        "card_values": card.list_card_values(conversation, own_fields),
        "provider_id": phone_visibility.visible_id(contact.external_id, contact.api_channel_id),
        "writes_to": card.delivery_number(conversation),
        "orders": orders.list_orders(conversation, now=now),
        "changes": card.list_changes(conversation, ids, now=now),
        "template_values": last_template_values(conversation),
        "answers_to": merges.reply_number(conversation),
        "merged": merges.list_merged_clients(people, user=user, now=now),
        "may_merge": user.has_perm(rules.MERGE_PERMISSION) and contact.erased_at is None,
        "may_export": user.has_perm(person_export.EXPORT_PERMISSION) and contact.erased_at is None,
        "may_erase": user.has_perm(erasure.ERASE_PERMISSION) and contact.erased_at is None,
    }


def last_template_values(conversation: Conversation) -> dict[str, str]:
    """Return the values of recent template messages by variable title; newer values win."""
    with connection.cursor() as cursor:
        cursor.execute(TEMPLATES_SENT_SQL, [conversation.pk])
        rows = [json.loads(row[0]) if isinstance(row[0], str) else row[0] for row in cursor.fetchall()]
    templates = Template.objects.in_bulk({row["id"] for row in rows if row.get("id")}) if rows else {}
    found: dict[str, str] = {}
    for row in rows:
        parameters = row.get("parameters") or []
        pairs = (
            parameters.items()
            if isinstance(parameters, dict)
            else ((str(n), value) for n, value in enumerate(parameters, 1))
        )
        template = templates.get(row.get("id") or 0)
        for key, value in pairs:
            found.setdefault(_variable_title(template, key), str(value))
    return dict(list(found.items())[:MAX_VALUES])


def _variable_title(template: Template | None, key: str) -> str:
    try:
        return str(template.definition.variable_title(key)) if template else key
    except InvalidTemplate:
        return key
