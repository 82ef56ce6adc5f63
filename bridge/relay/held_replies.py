"""Held replies: text that waits for the client to write, because no template fits it.

The operator's text is kept and an opening template is sent instead. When the client writes, the text follows, in order.
After HELD_REPLY_DAYS it is dropped with a notice and becomes a draft again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from bridge import service_window
from bridge.conversations import receiving
from bridge.decisions import REFUSE, Decision
from bridge.models import Conversation, Draft, HeldReply
from bridge.notices import create_notice
from channels_setup.failing_items import FailingItems

from . import reply_submission

BATCH = 200
DROPPED_REPLIES = FailingItems("drop_held_replies")


@transaction.atomic
def hold_reply(
    *,
    conversation_id: int,
    text: str,
    author: Any,
    template_id: int,
    parameters: Any,
    replies_to: int | None = None,
    form_key: str = "",
) -> tuple[HeldReply | None, reply_submission.SubmitResult]:
    """Send the template and hold the text. If the template cannot be sent, nothing is held; the decision says why."""
    if (decision := _refuse_to_hold(conversation_id, text, replies_to)) is not None:
        return None, reply_submission.SubmitResult(decision=decision)
    result = reply_submission.submit_template_reply(
        conversation_id=conversation_id,
        template_id=template_id,
        parameters=parameters,
        author=author,
        form_key=form_key,
    )
    if result.message is None:
        return None, result
    held = HeldReply.objects.create(
        conversation_id=conversation_id,
        author=author,
        text=text,
        quoted_id=replies_to,
        opening_template=result.message,
        drop_at=service_window.database_now() + timedelta(days=settings.HELD_REPLY_DAYS),
    )
    return held, result


def _refuse_to_hold(conversation_id: int, text: str, replies_to: int | None) -> Decision | None:
    """Return why this text cannot be held (it could never be sent, or can be sent now), or None."""
    conversation = receiving.lock_conversation(conversation_id)
    if not text.strip():
        return Decision(outcome=REFUSE, reason="empty")
    if len(text) > reply_submission.MAX_TEXT_LENGTH:
        return Decision(outcome=REFUSE, reason="too_long", details={"length": len(text)})
    if service_window.get_window_state(conversation, now=service_window.database_now()).is_open:
        return Decision(outcome=REFUSE, reason="hold_not_needed")
    if replies_to is not None and reply_submission.get_quotable_message(conversation, replies_to) is None:
        return Decision(outcome=REFUSE, reason="nothing_to_quote")
    return None


def release_held_replies(conversation_ids: Iterable[int]) -> int:
    """Submit held replies of contacts who wrote, oldest first, in the caller's transaction. Return how many.

    No lease is needed: the row lock claims a held reply, it is settled in the same transaction, and no external call is
    made.
    """
    if not (ids := set(conversation_ids)):
        return 0
    with connection.cursor() as cursor:  # runs for every inbound batch; nearly always there is none
        cursor.execute(
            "SELECT 1 FROM bridge_heldreply WHERE conversation_id = ANY(%s) AND state = 'held' LIMIT 1", [list(ids)]
        )
        if cursor.fetchone() is None:
            return 0
    waiting = HeldReply.objects.select_for_update(no_key=True).filter(conversation__in=ids, state=HeldReply.State.HELD)
    released = 0
    for held in waiting.order_by("pk"):
        result = reply_submission.submit_reply(
            conversation_id=held.conversation_id,
            text=held.text,
            author=held.author,
            deletes_draft=False,
            replies_to=held.quoted_id,
        )
        if result.message is None:
            continue  # the client's message was too old to open the window
        held.message, held.state, held.finished_at = result.message, HeldReply.State.RELEASED, timezone.now()
        held.save(update_fields=["message", "state", "finished_at"])
        released += 1
    return released


@transaction.atomic
def cancel_held_reply(held_id: int, *, visible_chats: Any) -> bool:
    """Cancel a held reply at the operator's request. Its text becomes a draft again. Return whether it was held."""
    held = (
        HeldReply.objects.select_for_update(no_key=True)
        .filter(pk=held_id, state=HeldReply.State.HELD, conversation__in=visible_chats)
        .first()
    )
    if held is None:
        return False
    _drop_reply(held)
    return True


def drop_expired_replies() -> int:
    """Drop held replies that have expired, in batches, each with a notice in its chat. Return how many."""
    dropped = 0
    while batch := _drop_expired_batch():
        dropped += batch
    return dropped


@transaction.atomic
def _drop_expired_batch() -> int:
    due = (
        HeldReply.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(state=HeldReply.State.HELD, drop_at__lte=service_window.database_now())
        .exclude(pk__in=DROPPED_REPLIES.items_in_backoff())
        .order_by("drop_at")[:BATCH]
    )
    rows = list(due)
    for held in rows:
        with DROPPED_REPLIES.isolate(held.pk), transaction.atomic():
            _drop_with_notice(held)
    return len(rows)


def _drop_with_notice(held: HeldReply) -> None:
    conversation = Conversation.objects.get(pk=held.conversation_id)
    if _drop_reply(held):
        create_notice(conversation, "held_reply_dropped")
    else:
        create_notice(conversation, "held_reply_dropped_text", text=held.text)


def _drop_reply(held: HeldReply) -> bool:
    """Drop a held reply. Return whether its text is now a draft: an existing draft must not be overwritten."""
    held.state, held.finished_at = HeldReply.State.DROPPED, timezone.now()
    held.save(update_fields=["state", "finished_at"])
    if not held.author_id:
        return False
    _draft, is_new = Draft.objects.get_or_create(
        conversation_id=held.conversation_id, user_id=held.author_id, defaults={"text": held.text}
    )
    return is_new
