"""Start a chat: an operator writes first, with an approved template, to a number that has no chat yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bridge.conversations import activity, consents, contact_editing, contact_links, contacts, conversation_creation
from bridge.models import ConsentSource, Contact, ContactChange, Conversation, Message
from channels_setup.codecs.phone_numbers import phone_key
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.providers.base import ContactInfo

from . import reply_submission


class ChatStartRefused(Exception):
    """Nothing was sent. The text is a sentence for the operator. ``reason``: a code of ``outcomes``, or ""."""

    def __init__(self, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class StartChannel:
    """An API channel, and why no chat can be started on it, or ""."""

    api_channel: ApiChannel
    chat_channel: ChatChannel
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class StartedChat:
    """The chat with the number. ``message`` is None if it existed before: then nothing was sent."""

    conversation: Conversation
    message: Message | None = None


@dataclass(frozen=True, kw_only=True)
class GivenConsent:
    """How the client agreed to be written to, as the operator states."""

    source: str
    note: str = ""


def list_start_channels(user: Any) -> list[StartChannel]:
    """Return the API channels whose answers the user would see, usable ones first.

    Answers arrive in the API channel's default chat channel, so the chat is started there.
    """
    visible = set(ChatChannel.objects.list_visible_ids(user))
    found = []
    for api_channel in ApiChannel.objects.unarchived().prefetch_related("watched"):
        chat_channel = min(api_channel.watched.all(), key=lambda row: row.pk, default=None)
        if chat_channel is not None and chat_channel.pk in visible:
            problem = _find_channel_problem(api_channel)
            found.append(StartChannel(api_channel=api_channel, chat_channel=chat_channel, problem=problem))
    return sorted(found, key=lambda channel: bool(channel.problem))


def _find_channel_problem(api_channel: ApiChannel) -> str:
    provider = api_channel.provider
    if not (provider.starts_chats and provider.sends_templates):
        return str(provider.no_start_reason) or _("The provider of this channel cannot write first.")
    if api_channel.state not in (ChannelState.LIVE, ChannelState.FAILING):
        return _("This channel cannot send now. Its state is: %(state)s.") % {"state": api_channel.get_state_display()}
    return ""


def parse_number(text: str) -> str:
    """Return a typed phone number in international form with its plus. Raises ChatStartRefused."""
    try:
        phone = contact_editing.validate_card({"phone": text})["phone"]
    except contact_editing.InvalidContactData as problem:
        raise ChatStartRefused(problem.fields["phone"]) from None
    if not phone:
        raise ChatStartRefused(_("Enter the client's phone number."))
    return phone


def find_known_contact(api_channel: ApiChannel, phone: str) -> Contact | None:
    """Return the contact who has this number on the channel, without locks."""
    rows = Contact.objects.filter(api_channel=api_channel, erased_at=None, moved_to=None)
    found = rows.with_phone([phone_key(phone)]).select_related("merged_into").order_by("pk").first()
    return found and (found.merged_into or found)


@transaction.atomic
def start_chat(
    channel: StartChannel,
    phone: str,
    *,
    template_id: int,
    parameters: Any,
    consent: GivenConsent,
    author: Any,
    name: str = "",
    form_key: str = "",
    is_assigned: bool = True,
) -> StartedChat:
    """Create the contact and the chat, record the consent, and send the template. Raises ChatStartRefused.

    ``is_assigned``: the author gets the chat, unless somebody has it.
    If the chat has a message by now, nothing is sent: another tab was faster, or the client has just written.
    """
    if channel.problem:
        raise ChatStartRefused(channel.problem)
    if consent.source not in ConsentSource.values:
        raise ChatStartRefused(_("Say how the client agreed to get messages."))
    phone = parse_number(phone)
    contact = get_or_create_contact(channel.api_channel, phone)
    pair = (contact, channel.chat_channel)
    by_pair, _new = conversation_creation.get_or_create_conversations(channel.api_channel, [pair])
    conversation = by_pair[contact.pk, channel.chat_channel.pk]
    if Message.objects.filter(conversation=conversation).exclude(direction=Message.Direction.NOTICE).exists():
        return StartedChat(conversation=conversation)
    if name.strip() and not conversation.contact.name:
        by = contact_editing.Editor(source=ContactChange.Source.OPERATOR, user=author)
        try:
            contact_editing.edit_contact(conversation.contact_id, {"name": name}, by=by)
        except contact_editing.InvalidContactData as problem:
            raise ChatStartRefused(str(problem)) from None
    consents.record_consent(conversation.contact_id, consent.source, note=consent.note, by=author)
    if is_assigned and conversation.assignee_id is None:
        Conversation.objects.filter(pk=conversation.pk, assignee=None).update(assignee=author)
    result = reply_submission.submit_template_reply(
        conversation_id=conversation.pk,
        template_id=template_id,
        parameters=parameters,
        author=author,
        form_key=form_key,
    )
    if result.message is None:
        raise ChatStartRefused(result.decision.sentence, result.decision.reason)  # rolls the contact back, too
    activity.record_activity(conversation.pk, "chat_started", actor=author)
    return StartedChat(conversation=result.message.conversation, message=result.message)


def get_or_create_contact(api_channel: ApiChannel, phone: str) -> Contact:
    """Return the contact with this number on the channel, as if they had written. Locks against a second one."""
    external_id = phone.removeprefix("+") if api_channel.provider.ids_are_phone_numbers else ""
    info = ContactInfo(external_id=external_id, phone=phone)
    while True:
        resolved = contacts.resolve_contacts(api_channel, [contacts.ContactData(info=info, by_contact=False)])
        [contact] = resolved.contacts
        if contacts.lock_contacts([contact.pk]):
            contact_links.announce_changes(resolved.changes)
            return contact
        # The undo of an import has just deleted the contact: the number gets a new one.
