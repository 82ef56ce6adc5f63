"""Record what operators are notified of. Open pages show it, and `bridge.push` sends it to their devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection

from .models import Notification, NotificationKind
from .models.notifications import MAX_TEXT

REPEAT_SECONDS = 5  # the same event within this time notifies once

# The row is in the caller's transaction, so nobody is notified of what was rolled back.
INSERT_SQL = f"""
INSERT INTO bridge_notification (user_id, kind, conversation_id, actor_id, text, note_id)
SELECT u.id, %(kind)s, %(conversation)s, %(actor)s, %(text)s, %(note)s FROM unnest(%(users)s::bigint[]) AS u(id)
WHERE u.id IS DISTINCT FROM %(actor)s AND NOT EXISTS (
    SELECT FROM bridge_notification n
    WHERE n.user_id = u.id AND n.kind = %(kind)s AND n.conversation_id = %(conversation)s AND n.text = %(text)s
      AND n.created_at > clock_timestamp() - interval '{REPEAT_SECONDS} seconds')
"""


def notify(
    user_ids: Iterable[int | None],
    kind: str,
    conversation_id: int,
    *,
    actor: Any = None,
    excerpt: str = "",
    note_id: int | None = None,
) -> int:
    """Notify users of something in a chat, except the ``actor`` (a user or ID). Return how many are notified.

    ``note_id``: the note whose words the excerpt repeats.

    Access is checked when a notification is shown or sent, not here.
    """
    users = sorted({user_id for user_id in user_ids if user_id is not None})
    if not users:
        return 0
    values = {
        "kind": NotificationKind(kind).value,
        "conversation": conversation_id,
        "actor": getattr(actor, "pk", actor),
        "text": shorten_excerpt(excerpt),
        "note": note_id,
        "users": users,
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, values)
        return cursor.rowcount


def update_note_excerpts(note_id: int, *, user_ids: Iterable[int], excerpt: str) -> None:
    """Replace the words of a note in the notifications of these users, and delete those of others."""
    of_note = Notification.objects.filter(note=note_id)
    of_note.exclude(user__in=list(user_ids)).delete()
    of_note.update(text=shorten_excerpt(excerpt))


def shorten_excerpt(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]
