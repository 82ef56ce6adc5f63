"""Notes for operators of an external helpdesk: corrections, and replies written in the phone app.

Each note is one private comment in the request, in the operators' language. The helpdesk would report a public comment
as an operator's reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from bridge.models import Conversation, Message
from channels_setup.providers.base import Correction, MessageEdited, MessageRevoked, ReactionChanged

from . import helpdesk_messages
from .operator_notes import join_parts, quote_text, use_operator_language


def note_correction(fact: Correction, message: Message, conversation: Conversation, *, before: str) -> None:
    """Queue a note about an edit, deletion or reaction. `before`: the earlier text or reaction."""
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        helpdesk_messages.queue_note(
            conversation, join_parts(_describe_correction(fact, message, before)), message=message
        )


def _describe_correction(fact: Correction, message: Message, before: str) -> Sequence[str]:
    quote = quote_text(message.localized_text or _("file"))
    if isinstance(fact, MessageEdited):
        heading = (
            _("A reply was edited in the phone app. Previous text:")
            if fact.by_us
            else _("The client edited a message. Previous text:")
        )
        return [heading, quote_text(before), _("New text:"), quote]
    if isinstance(fact, MessageRevoked):
        heading = _("A reply was deleted in the phone app:") if fact.by_us else _("The client deleted a message:")
        return [heading, quote]
    values = {"emoji": fact.emoji or before}
    if fact.emoji:
        heading = (
            _("We reacted with %(emoji)s in the phone app to:")
            if fact.by_us
            else _("The client reacted with %(emoji)s to:")
        )
    else:
        heading = (
            _("Our reaction %(emoji)s was removed in the phone app from:")
            if fact.by_us
            else _("The client removed the reaction %(emoji)s from:")
        )
    return [heading % values, quote]


def note_operator_reaction(
    message: Message, conversation: Conversation, *, author: Any, emoji: str, before: str
) -> None:
    """Queue a note about a reaction that an operator set or removed in the desk."""
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        values = {"name": author.get_full_name() or author.get_username(), "emoji": emoji or before}
        heading = (
            _("%(name)s reacted with %(emoji)s in the desk to:")
            if emoji
            else _("%(name)s removed the reaction %(emoji)s in the desk from:")
        )
        text = join_parts([heading % values, quote_text(message.localized_text or _("file"))])
        helpdesk_messages.queue_note(conversation, text, message=message)


def note_stray_reaction(fact: Correction, conversation: Conversation) -> None:
    """Queue a note about a reaction to a message that is not stored here."""
    if conversation.chat_channel.provider.built_in or not isinstance(fact, ReactionChanged):
        return
    with use_operator_language(conversation):
        heading = (
            _("We reacted with %(emoji)s in the phone app to a message that is not in the portal.")
            if fact.by_us
            else _("The client reacted with %(emoji)s to a message that is not in the portal.")
        )
        helpdesk_messages.queue_note(conversation, heading % {"emoji": fact.emoji})


def note_echo(message: Message, links: Sequence[str]) -> None:
    """Queue a note about a reply written in the phone app, or about an edit of one that is not stored here."""
    conversation = message.conversation
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        is_edit = bool(message.shown.get("edited_at"))
        heading = _("A reply was edited in the phone app. New text:") if is_edit else _("Replied in the phone app:")
        helpdesk_messages.queue_note(
            conversation, join_parts([heading, quote_text(message.localized_text), *links]), message=message
        )


def note_late_files(message: Message, links: Sequence[str]) -> None:
    """Queue a note with the files of a message whose text came first."""
    conversation = message.conversation
    if conversation.chat_channel.provider.built_in:
        return
    with use_operator_language(conversation):
        helpdesk_messages.queue_note(
            conversation, join_parts([_("Files of this message:"), quote_text(message.localized_text), *links])
        )
