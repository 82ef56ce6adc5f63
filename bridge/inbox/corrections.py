"""Corrections: apply reactions, edits and deletions to stored messages.

Corrections may arrive twice, late or out of order, from the client or from the account's own phone app. A client's
correction after our reply marks the chat as unread and as changed after the answer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch

from django.db.models import F
from django.utils import timezone

from bridge import message_text, service_window
from bridge.conversations import message_lookup, reactions, receiving
from bridge.fanout import correction_notes
from bridge.models import ChangeAfterAnswer, Conversation, Message
from bridge.person_erased import PersonErased
from bridge.relay import held_replies
from channels_setup.models import ApiChannel
from channels_setup.providers.base import Correction, MessageEdited, MessageRevoked, ReactionChanged

logger = logging.getLogger(__name__)

MAX_FORMER_TEXTS = 20  # former texts kept per message
MAX_CORRECTION_IDS = 20  # IDs kept per message to recognize repeats


@dataclass(frozen=True, kw_only=True)
class CorrectionEffect:
    """The effect of a correction. ``kind``: a ChangeAfterAnswer, or empty if operators need no alert."""

    kind: str = ""
    before: str = ""  # the text before an edit


def lock_target_message(api_channel: ApiChannel, external_id: str) -> tuple[Message, Conversation] | None:
    """Lock the conversation and the message with this provider's ID. None if it is not stored.

    Raises PersonErased.
    """
    if not external_id:
        return None
    pk = message_lookup.find_message_ids(api_channel.pk, [external_id]).get(external_id)
    if pk is None:
        return None
    rows = Message.objects.filter(pk=pk, external_id=external_id)
    conversation_id = rows.values_list("conversation_id", flat=True).first()
    if conversation_id is None:
        return None
    conversation = receiving.lock_conversation(conversation_id)
    if conversation.is_erased:  # while this waited for the lock
        raise PersonErased
    message = rows.select_for_update(no_key=True).first()
    return None if message is None else (message, conversation)


def apply_correction(fact: Correction, message: Message, conversation: Conversation) -> None:
    """Apply one correction to a locked message, once. Notify operators if it matters to them."""
    is_ours = message.direction == Message.Direction.OUTBOUND
    if not isinstance(fact, ReactionChanged) and is_ours != fact.by_us:
        logger.warning("correction of a message by another author ignored", extra={"message_id": message.pk})
        return
    applied_ids = message.shown.get("corrections", [])
    if fact.external_id and fact.external_id in applied_ids:
        return
    change = _apply_to_message(fact, message, conversation)
    if change is None:
        return
    if fact.external_id:
        message.shown = message.shown | {"corrections": [*applied_ids, fact.external_id][-MAX_CORRECTION_IDS:]}
    if change.kind and not fact.by_us and _is_answered(message, conversation):
        _make_unread(conversation, change.kind)
        if change.kind != ChangeAfterAnswer.REACTED:
            message.shown = message.shown | {"after_answer": True}
    message.save(update_fields=["text", "reactions", "shown"])
    correction_notes.note_correction(fact, message, conversation, before=change.before)


@singledispatch
def _apply_to_message(fact: Correction, message: Message, conversation: Conversation) -> CorrectionEffect | None:
    """Change the unsaved message. None if nothing changes or a newer correction was applied before."""
    raise TypeError(type(fact))


@_apply_to_message.register
def _(fact: ReactionChanged, message: Message, conversation: Conversation) -> CorrectionEffect | None:
    by = "us" if fact.by_us else "client"
    reacted_at = message.shown.get("reacted_at", {})
    emoji = fact.emoji[:40]
    before = "".join(reaction["emoji"] for reaction in message.reactions if reaction["by"] == by)
    if emoji == before or not _is_newer(fact.at, reacted_at.get(by)):
        return None
    if fact.by_us:
        reactions.replace_from_phone(message, emoji)
    else:
        others = [reaction for reaction in message.reactions if reaction["by"] != by]
        message.reactions = [*others, {"by": by, "emoji": emoji}] if emoji else others
    message.shown = message.shown | {"reacted_at": {**reacted_at, by: format_stamp(fact.at)}}
    if not emoji or fact.by_us:
        return CorrectionEffect(before=before)
    extend_window(conversation, fact.at, message=message, merged_contact_id=message.merged_contact_id)
    return CorrectionEffect(kind=ChangeAfterAnswer.REACTED, before=before)


@_apply_to_message.register
def _(fact: MessageEdited, message: Message, conversation: Conversation) -> CorrectionEffect | None:
    if not _is_newer(fact.at, message.shown.get("edited_at")) or fact.text == message.text:
        return None
    before = message.text
    former = [*message.shown.get("former", []), before][-MAX_FORMER_TEXTS:]
    if conversation.last_text == message_text.build_preview(before, message.shown)[:200]:
        Conversation.objects.filter(pk=conversation.pk).update(last_text=fact.text[:200])
    message.text = fact.text
    message.shown = message.shown | {"former": former, "edited_at": format_stamp(fact.at)}
    return CorrectionEffect(kind="" if "revoked_at" in message.shown else ChangeAfterAnswer.EDITED, before=before)


@_apply_to_message.register
def _(fact: MessageRevoked, message: Message, conversation: Conversation) -> CorrectionEffect | None:
    """Mark the message as deleted. Its text stays: an operator may have answered it."""
    if "revoked_at" in message.shown:
        return None
    message.shown = message.shown | {"revoked_at": format_stamp(fact.at)}
    return CorrectionEffect(kind=ChangeAfterAnswer.DELETED)


def extend_window(
    conversation: Conversation, at: datetime | None, *, message: Message | None, merged_contact_id: int | None
) -> None:
    """Open or extend the window for a client's reaction, and send held replies."""
    now = service_window.database_now()
    activity = service_window.ContactActivity(
        conversation_id=conversation.pk,
        at=at or now,
        message_id=message.pk if message else None,
        merged_contact_id=merged_contact_id,
    )
    service_window.extend_windows([activity], now=now)
    # Chat lists look for open windows only among chats of the last day, so no window may end later than that.
    Conversation.objects.filter(pk=conversation.pk, last_message_at__lt=activity.at).update(last_message_at=now)
    held_replies.release_held_replies([conversation.pk])


def _is_answered(message: Message, conversation: Conversation) -> bool:
    """Return whether we sent a message after this one. True if the message itself is ours."""
    if message.direction == Message.Direction.OUTBOUND:
        return True
    later = Message.objects.filter(conversation=conversation, pk__gt=message.pk)
    return later.filter(direction=Message.Direction.OUTBOUND).exclude(status=Message.Status.FAILED).exists()


def _make_unread(conversation: Conversation, kind: str) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(
        unread=F("unread") + 1,
        change_after_answer=kind,
        last_message_at=service_window.database_now(),
        last_written_at=None,
    )


def format_stamp(at: datetime | None) -> str:
    """Return the time, or now, in the format of ``Message.shown``."""
    return (at or timezone.now()).isoformat()


def _is_newer(at: datetime | None, before: str | None) -> bool:
    return before is None or at is None or at >= datetime.fromisoformat(before)
