"""Our own reactions to contacts' messages, as they are stored with the message.

``Message.reactions`` holds what the desk shows. ``shown["our_reaction"]`` holds the last reaction of an operator: the
author's ID, the delivery's key, the state, and the reaction that it replaces (``before``), which the client goes on to
see if this one fails. A reaction set in the phone app replaces both, except that one on its way follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db.models import Exists, OuterRef, QuerySet

from bridge.models import DeadLetter, Delivery, Message
from channels_setup.codecs.values import as_text

KEY = "our_reaction"  # of ``Message.shown``
MAX_AGE = timedelta(days=30)  # WhatsApp rejects reactions to older messages
PENDING, SENT, FAILED, UNKNOWN = "pending", "sent", "failed", "unknown"
OPEN = (PENDING, UNKNOWN)  # the provider has not accepted it
REPLACED = "reaction_replaced"  # reason of a delivery that must not be sent after a newer reaction


@dataclass(frozen=True, kw_only=True)
class OurReaction:
    """The last reaction that an operator chose. An empty emoji: it was removed."""

    emoji: str
    author_id: int | None
    key: str  # of its delivery
    state: str
    before: str = ""  # what the client sees if this one does not arrive
    reason: str = ""  # code of a failure
    error: Mapping[str, str] | None = None  # the provider's code and texts

    @classmethod
    def of_message(cls, message: Message) -> Self | None:
        """Read the reaction of a message; None if there is none."""
        found = message.shown.get(KEY) if isinstance(message.shown, dict) else None
        if not isinstance(found, dict):
            return None
        author_id, error = found.get("author"), found.get("error")
        return cls(
            emoji=as_text(found.get("emoji")),
            author_id=author_id if isinstance(author_id, int) else None,
            key=as_text(found.get("key")),
            state=as_text(found.get("state")),
            before=as_text(found.get("before")),
            reason=as_text(found.get("reason")),
            error=error if isinstance(error, dict) else None,
        )

    def as_json(self) -> dict[str, Any]:
        values = {"emoji": self.emoji, "author": self.author_id, "key": self.key, "state": self.state}
        rest = {"before": self.before, "reason": self.reason, "error": self.error}
        return values | {name: value for name, value in rest.items() if value}


def get_our_emoji(message: Message) -> str:
    """Return our reaction as the desk shows it; empty without one."""
    rows = message.reactions if isinstance(message.reactions, list) else []
    return "".join(as_text(row.get("emoji")) for row in rows if isinstance(row, dict) and row.get("by") == "us")


def list_accepted(message: Message) -> list[dict[str, Any]]:
    """Return the reactions that the provider has accepted: instead of one of ours on its way, the one before."""
    rows = [row for row in message.reactions if isinstance(row, dict)] if isinstance(message.reactions, list) else []
    current = OurReaction.of_message(message)
    if current is None or current.state not in OPEN:
        return rows
    others = [row for row in rows if row.get("by") != "us"]
    return [*others, {"by": "us", "emoji": current.before}] if current.before else others


def set_our_emoji(message: Message, emoji: str) -> None:
    """Replace our reaction of an unsaved message."""
    others = [row for row in message.reactions if row.get("by") != "us"]
    message.reactions = [*others, {"by": "us", "emoji": emoji}] if emoji else others


def choose_reaction(message: Message, emoji: str, *, author_id: int | None, key: str, stamp: str) -> None:
    """Show a new reaction with its message, which the caller has locked. ``key``: of its delivery."""
    current = OurReaction.of_message(message)
    is_open = current is not None and current.state in OPEN
    before = current.before if current is not None and is_open else get_our_emoji(message)
    set_our_emoji(message, emoji)
    chosen = OurReaction(emoji=emoji, author_id=author_id, key=key, state=PENDING, before=before)
    # An older reaction from the phone app, which may arrive later, does not replace this one.
    reacted_at = message.shown.get("reacted_at", {}) | {"us": stamp}
    message.shown = message.shown | {KEY: chosen.as_json(), "reacted_at": reacted_at}
    message.save(update_fields=["reactions", "shown"])


def confirm_reactions(deliveries: Iterable[Delivery]) -> None:
    """Record that the provider accepted these reactions."""
    for delivery, message in _lock_messages(deliveries):
        current = OurReaction.of_message(message)
        if current is None:
            continue
        emoji = as_text((delivery.payload.get("reaction") or {}).get("emoji"))
        if current.key == delivery.key and current.state != SENT:
            set_our_emoji(message, emoji)
            _save(message, _replace(current, emoji=emoji, state=SENT, reason="", error=None))
        elif current.key != delivery.key and current.state in OPEN:  # a newer one is on its way
            _save(message, _replace(current, before=emoji))


def fail_reaction(delivery: Delivery, reason: str, *, error: Mapping[str, str] | None = None) -> None:
    """Record that a reaction was not sent: the desk shows again what the client sees, and why."""
    for _delivery, message in _lock_messages([delivery]):
        current = OurReaction.of_message(message)
        if current is None or current.key != delivery.key:
            _forbid_resend(delivery)
        elif current.state != FAILED:
            set_our_emoji(message, current.before)
            _save(message, _replace(current, state=FAILED, reason=reason, error=error or None))


def mark_reaction_unknown(delivery: Delivery) -> None:
    """Record that a reaction may have been sent."""
    for _delivery, message in _lock_messages([delivery]):
        current = OurReaction.of_message(message)
        if current is None or current.key != delivery.key:
            _forbid_resend(delivery)
        elif current.state == PENDING:
            _save(message, _replace(current, state=UNKNOWN))


def mark_reaction_pending(delivery: Delivery) -> None:
    """Record that a failed reaction is sent again."""
    for _delivery, message in _lock_messages([delivery]):
        current = OurReaction.of_message(message)
        if current is not None and current.key == delivery.key and current.state in (FAILED, UNKNOWN):
            set_our_emoji(message, current.emoji)
            _save(message, _replace(current, state=PENDING, reason="", error=None))


def replace_from_phone(message: Message, emoji: str) -> None:
    """Show a reaction that was set in the phone app, on an unsaved message. One that is on its way comes after it."""
    current = OurReaction.of_message(message)
    if current is not None and current.state == PENDING:
        message.shown = message.shown | {KEY: _replace(current, before=emoji).as_json()}
        return
    set_our_emoji(message, emoji)
    message.shown = {name: value for name, value in message.shown.items() if name != KEY}


def dismiss_failure(message: Message) -> None:
    """Forget that the last reaction was not sent. The caller has locked the message."""
    current = OurReaction.of_message(message)
    if current is not None and current.state == FAILED:
        message.shown = {name: value for name, value in message.shown.items() if name != KEY}
        message.save(update_fields=["shown"])


def forbid_resends(message: Message) -> None:
    """Mark the reactions to a message that were not sent: an admin must not send them after a newer one."""
    _list_deliveries(message).filter(state__in=DeadLetter.STATES).update(reason=REPLACED)


def cancel_waiting(message: Message, *, now: datetime) -> None:
    """Cancel the reactions to a message that wait for an attempt: a newer one takes their place."""
    _list_deliveries(message).filter(state=Delivery.State.PENDING).update(
        state=Delivery.State.CANCELLED, reason=REPLACED, finished_at=now
    )


def find_replaced(deliveries: Iterable[Delivery]) -> set[int]:
    """Return the IDs of deliveries of reactions to whose messages a newer reaction was chosen."""
    newer = Delivery.objects.filter(kind=Delivery.Kind.REACTION, message=OuterRef("message"), pk__gt=OuterRef("pk"))
    rows = Delivery.objects.filter(Exists(newer), pk__in=[one.pk for one in deliveries])
    return set(rows.values_list("pk", flat=True))


def _list_deliveries(message: Message) -> QuerySet[Delivery]:
    return Delivery.objects.filter(message=message, kind=Delivery.Kind.REACTION)


def _forbid_resend(delivery: Delivery) -> None:
    """Mark a reaction that failed after a newer one was chosen: an admin must not send it after that one."""
    Delivery.objects.filter(pk=delivery.pk, state__in=DeadLetter.STATES).update(reason=REPLACED)


def _replace(current: OurReaction, **values: Any) -> OurReaction:
    return OurReaction(**(vars(current) | values))


def _save(message: Message, reaction: OurReaction) -> None:
    message.shown = message.shown | {KEY: reaction.as_json()}
    message.save(update_fields=["reactions", "shown"])


def _lock_messages(deliveries: Iterable[Delivery]) -> list[tuple[Delivery, Message]]:
    """Lock the messages of reactions in the order of their IDs. Without deleted ones."""
    found = sorted((one for one in deliveries if one.message_id is not None), key=lambda one: one.pk)
    if not found:
        return []
    rows = Message.objects.select_for_update(no_key=True).filter(pk__in={one.message_id for one in found})
    by_id = {row.pk: row for row in rows.order_by("pk")}
    return [(one, by_id[one.message_id]) for one in found if one.message_id in by_id]
