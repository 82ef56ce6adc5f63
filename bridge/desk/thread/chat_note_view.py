"""Notes of a page of a thread, as the desk shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from bridge.conversations import chat_notes
from bridge.desk import presentation
from bridge.models import Conversation, ConversationNote
from channels_setup.codecs.whatsapp_markup import render_html

from .periods import load_period

MAX_NOTES = 200  # of one page
TAG_OR_MENTION = re.compile(rf"<[^>]*>|{chat_notes.MENTION.pattern}")


@dataclass(frozen=True, kw_only=True)
class NoteVersion:
    """An earlier version of a note."""

    html: SafeString
    at: str


@dataclass(frozen=True, kw_only=True)
class NoteView:
    """A note in the thread."""

    pk: int
    html: SafeString
    source: str  # the text as its author edits it
    author: str
    at: str
    moment: datetime
    ticket_id: int | None
    edited: str  # time of the last edit, or empty
    previous: tuple[NoteVersion, ...]
    is_mine: bool
    is_deleted: bool


def load_notes(
    conversation: Conversation, *, user: Any, since: datetime | None, before: datetime | None, now: datetime
) -> list[NoteView]:
    """Load the notes of a period, oldest first: one query without notes, two with notes."""
    rows = load_period(ConversationNote, conversation, since=since, before=before, limit=MAX_NOTES)
    if not rows:
        return []
    names = _load_names(rows)
    return [_build_view(row, user=user, names=names, now=now) for row in rows]


def _load_names(rows: Sequence[ConversationNote]) -> dict[int, str]:
    texts = [text for row in rows for text in (row.text, *(version["text"] for version in row.previous))]
    ids = {row.author_id for row in rows} | {pk for text in texts for pk in chat_notes.list_mentioned(text)}
    return {user.pk: presentation.person_name(user) for user in get_user_model().objects.filter(pk__in=ids - {None})}


def _build_view(row: ConversationNote, *, user: Any, names: Mapping[int, str], now: datetime) -> NoteView:
    return NoteView(
        pk=row.pk,
        html=render_note(row.text, names, own=user.pk if user else None),
        source=chat_notes.decode_mentions(row.text, names),
        author=names.get(row.author_id or 0, ""),
        at=presentation.format_clock(row.created_at),
        moment=row.created_at,
        ticket_id=row.ticket_id,
        edited=presentation.format_moment(row.edited_at, now=now) if row.edited_at else "",
        previous=tuple(
            NoteVersion(
                html=render_note(version["text"], names, own=user.pk if user else None),
                at=presentation.format_moment(parse_datetime(version["at"]) or row.created_at, now=now),
            )
            for version in row.previous
        ),
        is_mine=user is not None and row.author_id == user.pk,
        is_deleted=row.deleted_at is not None,
    )


def render_note(text: str, names: Mapping[int, str], *, own: int | None = None) -> SafeString:
    """Render the words of a note as HTML, with mentions as chips."""

    def render_chip(found: Any) -> str:
        if found[1] is None:  # a tag: the address of a link can contain a mention
            return str(found[0])
        pk = int(found[1])
        css = "mention me" if pk == own else "mention"
        return format_html('<span class="{}">{}</span>', css, chat_notes.decode_mentions(found[0], names))

    return mark_safe(TAG_OR_MENTION.sub(render_chip, render_html(text)))  # both parts are escaped
