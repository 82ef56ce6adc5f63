"""Notes for operators of an external helpdesk: corrections, and replies written in the phone app.

Private comments in their request, in their language, once each. A public comment would come back as an operator's
reply.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from bridge.models import Conversation, Message
from channels_setup.providers.base import Correction, MessageEdited, MessageRevoked, ReactionChanged

from . import helpdesk_messages
from .operator_notes import join_parts, quote_text, use_operator_language


def note_correction(fact: Correction, message: Message, conversation: Conversation, *, before: str) -> None:
    """Queue a note about an edited, deleted or reacted-to message. `before`: its earlier text or reaction."""
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        helpdesk_messages.queue_note(
            conversation, join_parts(_describe_correction(fact, message, before)), message=message
        )


def _describe_correction(fact: Correction, message: Message, before: str) -> Sequence[str]:
    said = quote_text(message.localized_text or _("file"))
    if isinstance(fact, MessageEdited):
        head = (
            _("A reply was edited in the phone app. It said:")
            if fact.by_us
            else _("The client edited a message. It said:")
        )
        return [head, quote_text(before), _("Now it says:"), said]
    if isinstance(fact, MessageRevoked):
        head = _("A reply was deleted in the phone app:") if fact.by_us else _("The client deleted a message:")
        return [head, said]
    values = {"emoji": fact.emoji or before}
    if fact.emoji:
        head = (
            _("We reacted with %(emoji)s in the phone app to:")
            if fact.by_us
            else _("The client reacted with %(emoji)s to:")
        )
    else:
        head = (
            _("Our reaction %(emoji)s was removed in the phone app from:")
            if fact.by_us
            else _("The client removed the reaction %(emoji)s from:")
        )
    return [head % values, said]


def note_stray_reaction(fact: Correction, conversation: Conversation) -> None:
    """Queue a note about a reaction to a message that is not stored here."""
    if conversation.chat_channel.provider.built_in or not isinstance(fact, ReactionChanged):
        return
    with use_operator_language(conversation):
        head = (
            _("We reacted with %(emoji)s in the phone app to a message that is not in the portal.")
            if fact.by_us
            else _("The client reacted with %(emoji)s to a message that is not in the portal.")
        )
        helpdesk_messages.queue_note(conversation, head % {"emoji": fact.emoji})


def note_echo(message: Message, links: Sequence[str]) -> None:
    """Queue a note about a reply written in the phone app, or about an edit of one that is not stored here."""
    conversation = message.conversation
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        is_edit = bool(message.shown.get("edited_at"))
        head = _("A reply was edited in the phone app. Now it says:") if is_edit else _("Answered in the phone app:")
        helpdesk_messages.queue_note(
            conversation, join_parts([head, quote_text(message.localized_text), *links]), message=message
        )


def note_late_files(message: Message, links: Sequence[str]) -> None:
    """Queue a note with the files of a message whose text came first."""
    conversation = message.conversation
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        helpdesk_messages.queue_note(
            conversation, join_parts([_("The files of this message:"), quote_text(message.localized_text), *links])
        )
