"""Reactions of operators to clients' messages: decided, stored and queued like replies, within the 24-hour window.

One reaction of ours per message, as in WhatsApp: a new one replaces it, an empty one removes it. An older one that
waits for an attempt is canceled, so the newest never waits for its retries. Setting the same reaction twice changes
nothing at the provider, so its delivery may be repeated after an unknown outcome.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from django.db import transaction

from bridge import service_window, wakeups
from bridge.conversations import reactions, receiving
from bridge.fanout import correction_notes
from bridge.fanout.subscribers import build_contact_object
from bridge.models import Conversation, Delivery, Message
from bridge.models.deliveries import new_delivery_key

from . import reply_submission

MAX_EMOJI_LENGTH = 16  # code points: families of four with skin tones have 11
JOINERS = {"\u200d", "\ufe0f", "\u20e3"}  # within an emoji
TAGS = ("\U000e0020", "\U000e007f")  # first and last: of flags of regions
SYMBOLS = ("So", "Sk", "Sm")


def is_emoji(text: str) -> bool:
    """Return whether the text can be one emoji: symbols without letters, digits or spaces. Keycaps are allowed."""
    base = [char for char in text if char not in JOINERS and not TAGS[0] <= char <= TAGS[1]]
    if not base or len(text) > MAX_EMOJI_LENGTH:
        return False
    if text.endswith("\u20e3"):
        return len(base) == 1 and base[0] in "0123456789#*"
    return all(char > "\u00a0" and (unicodedata.category(char) in SYMBOLS or char in "‼⁉") for char in base)


def find_refusal(
    conversation: Conversation, message: Message, emoji: str, *, window: service_window.WindowState, now: Any
) -> str:
    """Return the code that says why this reaction cannot be sent, or ""."""
    if (refusal := reply_submission.refuse_unreachable(conversation)) is not None:
        return refusal.reason
    if not conversation.api_channel.provider.sends_reactions:
        return "reactions_not_supported"
    if not window.is_open:
        return "window_closed_for_reactions"
    is_known = message.external_id and message.direction == Message.Direction.INBOUND and not message.expired_at
    if not is_known or "revoked_at" in message.shown or now - message.written_at > reactions.MAX_AGE:
        return "nothing_to_react_to"
    return "" if not emoji or is_emoji(emoji) else "not_an_emoji"


@transaction.atomic
def submit_reaction(conversation_id: int, message_id: int, emoji: str, *, author: Any) -> str:
    """Set our reaction to a client's message, or remove it if ``emoji`` is empty.

    The reaction that the client sees already: dismisses the failure of a later one, also when the window has closed.

    Return "" or the code of the refusal. Locks the conversation, so that of two operators' reactions the later one
    stays.
    """
    conversation = receiving.lock_conversation(conversation_id)
    now = service_window.database_now()
    message = Message.objects.filter(pk=message_id, conversation=conversation).select_related("merged_contact").first()
    if message is None:
        return "nothing_to_react_to"
    window = service_window.get_merged_window_state(conversation, message.merged_contact_id, now=now)
    shown = reactions.OurReaction.of_message(message)
    is_dismissal = shown is not None and shown.state == reactions.FAILED and emoji == reactions.get_our_emoji(message)
    if not is_dismissal and (refusal := find_refusal(conversation, message, emoji, window=window, now=now)):
        return refusal
    reactions.forbid_resends(message)
    key = new_delivery_key()
    contact = message.merged_contact or conversation.contact
    delivery = Delivery(
        kind=Delivery.Kind.REACTION,
        conversation=conversation,
        message=message,
        api_channel=conversation.api_channel,
        key=key,
        free_text=conversation.api_channel.provider.service_window,
        payload={
            "event": {},
            "contact": build_contact_object(contact),
            "reaction": {"target_id": message.external_id, "emoji": emoji},
        },
    )
    locked = Message.objects.select_for_update(no_key=True).get(pk=message.pk)
    before = reactions.get_our_emoji(locked)
    current = reactions.OurReaction.of_message(locked)
    if is_dismissal or (emoji == before and (current is None or current.state != reactions.UNKNOWN)):
        reactions.dismiss_failure(locked)
        return ""
    reactions.cancel_waiting(message, now=now)
    delivery.save(force_insert=True)
    reactions.choose_reaction(locked, emoji, author_id=author.pk, key=key, stamp=now.isoformat())
    correction_notes.note_operator_reaction(locked, conversation, author=author, emoji=emoji, before=before)
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    return ""
