"""Template test messages: an admin sends one to their own number through the regular outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import contacts, merge_lookup, receiving, tickets
from bridge.models import Contact, Conversation, Message, TemplateTest, Ticket
from channels_setup.codecs.phone_numbers import format_wire_phone, is_phone_number
from channels_setup.models import ChannelState
from channels_setup.providers.base import ContactInfo
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.models import Status, Template

from . import reply_submission, template_decisions

MAX_TESTS_PER_HOUR = 10  # per admin; each message may cost money
SHOWN_TESTS = 5


class TemplateTestRefused(Exception):
    """The test message cannot be sent. Its text is a sentence for the admin."""


@dataclass(frozen=True, kw_only=True)
class TemplateTestRecipient:
    """A number, and the contact who has it on the template's channel."""

    number: str
    contact: Contact | None


def explain_refusal(template: Template) -> str:
    """Return why no test message of this template can be sent now, or ""."""
    channel = template.api_channel
    if not channel.provider.sends_templates:
        return _("The provider of this channel does not support templates.")
    if template.status != Status.APPROVED:
        return _("Only an approved template can be sent. This one is: %(status)s.") % {
            "status": template.get_status_display()
        }
    if template.unsendable_reason:
        return str(template.unsendable_reason)
    if channel.state not in (ChannelState.LIVE, ChannelState.FAILING):
        return _("The channel “%(name)s” cannot send now. Its state is: %(state)s.") % {
            "name": channel.name,
            "state": channel.get_state_display(),
        }
    if channel.default_chat_channel is None:
        return _("The channel “%(name)s” has no chat channel.") % {"name": channel.name}
    return ""


@transaction.atomic
def read_recipient(template: Template, number: str) -> TemplateTestRecipient:
    """Parse the number that an admin typed. Raises TemplateTestRefused."""
    digits = format_wire_phone(number)
    if not (is_phone_number(number) and digits.isascii() and digits.isdigit() and 10 <= len(digits) <= 15):
        raise TemplateTestRefused(_("Enter the number with its country code, such as +7 921 123-45-67."))
    found = contacts.find_contact(template.api_channel, _build_contact_info(template, digits))
    if found is not None and _get_reached_contact_id(template, found) != found.pk:
        raise TemplateTestRefused(_("This number was merged with another client, whose messages go to another number."))
    return TemplateTestRecipient(number=f"+{digits}", contact=merge_lookup.get_owner(found) if found else None)


def _get_reached_contact_id(template: Template, contact: Contact) -> int:
    """Return the contact that messages to this contact's chat reach: of merged contacts, only one."""
    chats = Conversation.objects.filter(
        contact=contact.owner_id, chat_channel=template.api_channel.default_chat_channel
    )
    chat = chats.select_related("contact").first()
    merged = service_window.get_addressee_id(chat) if chat else None
    return contact.owner_id if merged is None else merged


def check_values(template: Template, values: Mapping[str, str]) -> None:
    """Raise TemplateTestRefused if the template cannot be sent with these values."""
    filled_values = {key: value for key, value in values.items() if value}
    text_only = not template.api_channel.provider.sends_template_values
    try:
        decision = template_decisions.decide_filled_template(
            template.pk, template.definition, filled_values, text_only=text_only
        )
    except InvalidTemplate as problem:
        raise TemplateTestRefused(str(problem.sentence)) from None
    if not decision.is_accepted:
        raise TemplateTestRefused(decision.sentence)


@transaction.atomic
def send_template_test(
    template: Template, number: str, values: Mapping[str, str], *, user: Any, confirmed_contact_id: int | None
) -> Message:
    """Send the template to a number. Raises TemplateTestRefused.

    `confirmed_contact_id`: the contact that the admin confirmed, or None for an unknown number.
    """
    # Lock the user, so that concurrent requests respect the limit.
    get_user_model()._default_manager.select_for_update(no_key=True).get(pk=user.pk)
    if sentence := explain_refusal(template):
        raise TemplateTestRefused(sentence)
    since = service_window.database_now() - timedelta(hours=1)
    if TemplateTest.objects.filter(author=user, sent_at__gt=since).count() >= MAX_TESTS_PER_HOUR:
        raise TemplateTestRefused(
            _("The limit of test messages is %(most)d an hour. Try again later.") % {"most": MAX_TESTS_PER_HOUR}
        )
    recipient = read_recipient(template, number)
    if (recipient.contact.pk if recipient.contact else None) != confirmed_contact_id:
        raise TemplateTestRefused(
            _("The number now belongs to another client, or was erased. Nothing was sent. Check the number again.")
        )
    conversation = _get_or_create_conversation(template, recipient)
    had_request = Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED).exists()
    result = reply_submission.submit_template_reply(
        conversation_id=conversation.pk,
        template_id=template.pk,
        parameters={key: value for key, value in values.items() if value},
        author=user,
    )
    if result.message is None or result.ticket is None:
        raise TemplateTestRefused(result.decision.sentence)
    if not had_request:  # a test needs no operator
        tickets.set_ticket_status(result.ticket.pk, status=Ticket.Status.CLOSED, by=user.pk)
    TemplateTest.objects.create(template=template, message=result.message, author=user)
    change_message = _("Test message sent, ending in …%(end)s") % {"end": recipient.number[-2:]}
    LogEntry.objects.log_actions(user.pk, [template], CHANGE, change_message=change_message, single_object=True)
    return result.message


def list_latest_tests(template: Template) -> list[TemplateTest]:
    """Return the newest test messages of a template."""
    rows = TemplateTest.objects.filter(template=template).order_by("-pk")
    return list(rows.select_related("author", "message__conversation__contact")[:SHOWN_TESTS])


def _build_contact_info(template: Template, digits: str) -> ContactInfo:
    is_id = template.api_channel.provider.ids_are_phone_numbers
    return ContactInfo(external_id=digits if is_id else "", phone=f"+{digits}")


def _get_or_create_conversation(template: Template, recipient: TemplateTestRecipient) -> Conversation:
    contact, chat_channel = recipient.contact, template.api_channel.default_chat_channel
    assert chat_channel is not None  # checked by ``explain_refusal``
    if contact is None:
        info = _build_contact_info(template, recipient.number.removeprefix("+"))
        contact = Contact(api_channel=template.api_channel, external_id=info.external_id, phone=info.phone)
        contact.save()
    created = Conversation.objects.get_or_create(
        contact=contact, chat_channel=chat_channel, defaults={"api_channel": template.api_channel}
    )[0]
    conversation = receiving.lock_conversation(created.pk)
    read_recipient(template, recipient.number)  # check again under the lock: the client may have changed numbers
    return conversation
