"""Notes for operators of an external helpdesk: private comments in the request, in the operators' language.

A note is never a public message: the helpdesk would report it as an operator's reply, and the client would get it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from bridge import outcomes, service_window
from bridge.decisions import Decision
from bridge.models import Conversation, Delivery, Message, ServiceWindow
from channels_setup.failing_items import FailingItems

from . import helpdesk_messages, template_links, template_offers

CLOSING_NOTES = FailingItems("notes of closing windows")

MAX_QUOTE_LENGTH = 1_000


def note_refused_reply(conversation: Conversation, decision: Decision, text: str) -> None:
    """Queue a note about a refused reply: the reason, its text, and templates to send instead."""
    with use_operator_language(conversation):
        parts = [_("Not sent to the client. %(why)s") % {"why": decision.sentence}, quote_text(text)]
        if _needs_template(decision.reason):
            _queue_note_with_offers(conversation, parts, decision, text)
        else:
            helpdesk_messages.queue_note(conversation, join_parts(parts))


def note_sent_as_template(conversation: Conversation, decision: Decision) -> None:
    """Queue a note that the pasted text was sent as a template, with its values."""
    if decision.template is None:
        return
    with use_operator_language(conversation):
        values = decision.template.parameters
        named = values.items() if isinstance(values, dict) else enumerate(values, start=1)
        heading = _("Sent to the client as the template “%(name)s” (%(language)s).") % {
            "name": decision.template.name,
            "language": decision.template.language,
        }
        helpdesk_messages.queue_note(
            conversation, join_parts([heading, "\n".join(f"{name}: {value}" for name, value in named)])
        )


def _needs_template(reason: str) -> bool:
    return outcomes.suggest_action(reason) == outcomes.SuggestedAction.TEMPLATE


def note_unsent_files(conversation: Conversation, files: Sequence[str]) -> None:
    """Queue a note that files were not sent to the client."""
    with use_operator_language(conversation):
        count = len(files)
        parts = [
            _("The file was not sent to the client: this channel cannot relay files from the helpdesk.")
            if count == 1
            else _("The files were not sent to the client: this channel cannot relay files from the helpdesk."),
            _("Send a link instead, for example:"),
            *files,
        ]
        helpdesk_messages.queue_note(conversation, "\n".join(parts))


def is_link_known(conversation: Conversation, link: str) -> bool:
    """Return whether a file's link was in a note or was sent to the client."""
    notes = Delivery.objects.filter(conversation=conversation, kind=Delivery.Kind.NOTE, payload__text__icontains=link)
    messages = Message.objects.filter(conversation=conversation, direction="outbound", text__contains=link)
    return notes.exists() or messages.exists()


def forward_notice(notice: Message) -> None:
    """Queue the portal's notice for operators who read the chat in an external helpdesk."""
    conversation = notice.conversation
    if conversation.chat_channel.provider.built_in or notice.reason == "note":
        return
    with use_operator_language(conversation):
        parts = [notice.sentence]
        message = Message.objects.filter(pk=notice.details.get("message_id") or 0, conversation=conversation).first()
        if message is not None:
            parts.append(quote_text(message.localized_text))
        if _needs_template(str(notice.details.get("why_code", ""))):
            _queue_note_with_offers(conversation, parts, None, message=notice)
        else:
            helpdesk_messages.queue_note(conversation, join_parts(parts), message=notice)


def note_failed_messages(messages: Iterable[Message]) -> None:
    """Queue notes about messages that the provider reports as failed."""
    for message in messages:
        conversation = Conversation.objects.select_related("chat_channel", "contact").get(pk=message.conversation_id)
        if conversation.chat_channel.provider.built_in:
            continue
        with use_operator_language(conversation):
            heading = _("A message was not delivered. %(why)s") % {"why": message.sentence}
            parts = [heading, quote_text(message.localized_text)]
            if _needs_template(message.reason):
                _queue_note_with_offers(conversation, parts, None, message=message)
            else:
                helpdesk_messages.queue_note(conversation, join_parts(parts), message=message)


def note_closing_windows(window_ids: Sequence[int]) -> None:
    """Queue notes about windows that close soon on an unanswered client. Called once per closing reminder."""
    rows = ServiceWindow.objects.filter(pk__in=window_ids, conversation__helpdesk_chat__isnull=False)
    now = service_window.database_now()
    for window in rows.select_related("conversation__chat_channel", "conversation__contact").order_by("expires_at"):
        with CLOSING_NOTES.isolate(window.pk), transaction.atomic(), use_operator_language(window.conversation):
            minutes = max(1, round((window.expires_at - now).total_seconds() / 60))
            until = window.expires_at.astimezone(window.conversation.chat_channel.zone).strftime("%H:%M")
            sentence = _(
                "The 24-hour window closes at %(until)s, in %(minutes)d min, and the client is waiting for a reply. "
                "After that, you can send only an approved template."
            )
            helpdesk_messages.queue_note(window.conversation, sentence % {"until": until, "minutes": minutes})


# --- content of a note -----------------------------------------------------------------------------------


def _queue_note_with_offers(
    conversation: Conversation,
    parts: Sequence[str],
    decision: Decision | None,
    text: str = "",
    message: Message | None = None,
) -> None:
    """Queue a note with the templates that can be sent instead."""
    offers = template_offers.build_template_offers(conversation, decision, text)
    note = helpdesk_messages.queue_note(conversation, join_parts([*parts, *offers.lines]), message=message)
    template_links.attach_note(offers.links, note)


def quote_text(text: str) -> str:
    """Return the text as a quote, shortened to MAX_QUOTE_LENGTH."""
    excerpt = text if len(text) <= MAX_QUOTE_LENGTH else text[:MAX_QUOTE_LENGTH] + "…"
    return "\n".join(f"> {line}" for line in excerpt.split("\n")) if excerpt.strip() else ""


def join_parts(parts: Sequence[str]) -> str:
    """Join the non-empty parts of a note with blank lines."""
    return "\n\n".join(part for part in parts if part)


def use_operator_language(conversation: Conversation) -> translation.override:
    """Return a context manager that activates the language of the helpdesk's operators."""
    language = conversation.chat_channel.options.get("language") or settings.LANGUAGE_CODE
    return translation.override(language)
