"""Notes in a thread: adding, editing and deleting, and the users they mention.

A note stores a mention as "@[ID]". People write and edit it as "@Name". The user name tells two users of one
name apart: "@Olga (olga2)".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from bridge import notifications, service_window
from bridge.models import Conversation, ConversationNote, NoteMention, NotificationKind

from . import tickets
from .receiving import lock_conversation

MAX_NOTE_LENGTH = 4_000
MAX_VERSIONS = 20  # earlier versions kept of a note
MENTION = re.compile(r"@\[(\d{1,18})\]")


class NoteRefused(Exception):
    """The note was not stored. The text is a sentence for the user."""


def build_handles(people: Iterable[Any]) -> dict[int, str]:
    """Return how each user is written after "@"."""
    people = list(people)
    names = {user.pk: str(user.get_full_name() or user.get_username()) for user in people}
    common = [name.casefold() for name in names.values()]
    return {
        user.pk: names[user.pk]
        if common.count(names[user.pk].casefold()) == 1
        else f"{names[user.pk]} ({user.get_username()})"
        for user in people
    }


def encode_mentions(text: str, handles: Mapping[int, str]) -> str:
    """Replace "@Name" by "@[ID]". The longest name wins.

    A name that goes on with a letter, or is part of a web address, is no mention.
    """
    text = MENTION.sub(lambda found: f"@ [{found[1]}]", text)  # typed by hand
    by_name = {name.casefold(): pk for pk, name in handles.items() if name}
    if not by_name:
        return text
    names = "|".join(re.escape(name) for name in sorted(by_name, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w/])@({names})(?!\w)", re.IGNORECASE)
    return pattern.sub(lambda found: f"@[{by_name[found[1].casefold()]}]", text)


def decode_mentions(text: str, handles: Mapping[int, str]) -> str:
    """Replace "@[ID]" by "@Name", for editing."""
    return MENTION.sub(lambda found: f"@{handles.get(int(found[1])) or _('a deleted user')}", text)


def list_mentioned(text: str) -> list[int]:
    return list(dict.fromkeys(int(number) for number in MENTION.findall(text)))


def validate_text(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not text:
        raise NoteRefused(_("A note cannot be empty."))
    if len(text) > MAX_NOTE_LENGTH:
        raise NoteRefused(_("A note may have at most %(count)d characters.") % {"count": MAX_NOTE_LENGTH})
    return text


@transaction.atomic
def add_note(
    conversation_id: int, text: str, *, author: Any, people: Sequence[Any], form_key: str = ""
) -> ConversationNote:
    """Add a note to the thread. A repeat of the same words with the same form key changes nothing.

    Other words with the same key are another note: the first answer was lost, or a second tab has the same form.

    ``people``: the users who may see the chat; only they can be mentioned. Raises NoteRefused.
    """
    text = encode_mentions(validate_text(text), build_handles(people))
    conversation = lock_conversation(conversation_id)
    if form_key:
        form_key = f"{form_key[:46]} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
        stored = ConversationNote.objects.filter(conversation=conversation, form_key=form_key).first()
        if stored is not None:
            return stored
    note = ConversationNote.objects.create(
        conversation=conversation,
        author=author,
        ticket=tickets.get_current_ticket(conversation),
        text=text,
        form_key=form_key,
    )
    _save_mentions(note, people)
    return note


@transaction.atomic
def edit_note(
    note_id: int, text: str, *, conversation: Conversation, author: Any, people: Sequence[Any]
) -> ConversationNote:
    """Change the author's own note, and keep the earlier version. Raises NoteRefused."""
    text = encode_mentions(validate_text(text), build_handles(people))
    note = _lock_own_note(note_id, conversation=conversation, author=author)
    if note.text == text:
        return note
    at = note.edited_at or note.created_at
    note.previous = [*note.previous, {"text": note.text, "at": at.isoformat()}][-MAX_VERSIONS:]
    note.text, note.edited_at = text, service_window.database_now()
    note.save(update_fields=["text", "edited_at", "previous"])
    _save_mentions(note, people)
    NoteMention.objects.filter(note=note).exclude(user__in=list_mentioned(text)).delete()
    return note


@transaction.atomic
def delete_note(note_id: int, *, conversation: Conversation, author: Any) -> None:
    """Delete the words of the author's own note. The thread keeps who deleted a note, and when. Raises NoteRefused."""
    note = _lock_own_note(note_id, conversation=conversation, author=author)
    note.text, note.previous, note.deleted_at = "", [], service_window.database_now()
    note.save(update_fields=["text", "previous", "deleted_at"])
    NoteMention.objects.filter(note=note).delete()
    notifications.update_note_excerpts(note.pk, user_ids=(), excerpt="")


def mark_mentions_seen(chats: Sequence[int], user: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE bridge_notemention SET seen_at = clock_timestamp() "
            "WHERE user_id = %s AND conversation_id = ANY(%s) AND seen_at IS NULL",
            [user.pk, list(chats)],
        )


def _save_mentions(note: ConversationNote, people: Sequence[Any]) -> None:
    """Store the mentions of a note, and notify the users who are new, except the author."""
    known = set(NoteMention.objects.filter(note=note).values_list("user", flat=True))
    new = [pk for pk in list_mentioned(note.text) if pk != note.author_id and pk not in known]
    NoteMention.objects.bulk_create(
        [NoteMention(note=note, conversation_id=note.conversation_id, user_id=pk) for pk in new], ignore_conflicts=True
    )
    words = decode_mentions(note.text, build_handles(people))
    if known:
        notifications.update_note_excerpts(note.pk, user_ids=list_mentioned(note.text), excerpt=words)
    notifications.notify(
        new, NotificationKind.MENTIONED, note.conversation_id, actor=note.author_id, excerpt=words, note_id=note.pk
    )


def _lock_own_note(note_id: int, *, conversation: Conversation, author: Any) -> ConversationNote:
    rows = ConversationNote.objects.select_for_update(no_key=True, of=("self",))
    note = rows.filter(pk=note_id, conversation=conversation, author=author, deleted_at=None).first()
    if note is None:
        raise NoteRefused(_("Only the author can change a note."))
    return note
