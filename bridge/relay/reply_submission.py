"""Step 4: decide what happens to an operator's reply, store the decision, then queue or refuse it.

The desk, `sendMessage` and helpdesk webhooks all submit here and get the decision back. The service window is checked
here and again right before the call (`dispatcher`), both times by `service_window`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from bridge import phone_visibility, service_window, tracing, wakeups
from bridge.conversations import contact_links, last_messages, receiving, tickets
from bridge.decisions import REFUSE, TEXT, Decision
from bridge.fanout import subscribers
from bridge.metrics import recording
from bridge.models import Attachment, Conversation, Delivery, Draft, Message, Ticket, Upload
from templates_registry import lifecycle

from . import template_decisions

# Key of a decision's context: the portal sends this text by itself. It answers nothing, so the chat waits on.
AUTOMATIC = "automatic"
RECOGNIZED, CHOSEN = "recognized", "chosen"  # how the template was selected; shown with the message
MAX_CAPTION_LENGTH = 1024  # characters; longer text is sent before the file
MAX_TEXT_LENGTH = 4096  # characters; WhatsApp's limit for a text message


@dataclass(frozen=True, kw_only=True)
class SubmitResult:
    """The decision, and the message if one was created."""

    decision: Decision
    message: Message | None = None
    ticket: Ticket | None = None


def decide_reply(
    conversation: Conversation, text: str, *, window: service_window.WindowState, files: Sequence[Any] = ()
) -> Decision:
    """Return the decision for a text without storing anything. See `submit_reply`."""
    if (refusal := refuse_unreachable(conversation)) is not None:
        return refusal
    if not text.strip() and not files:
        return Decision(outcome=REFUSE, reason="empty")
    if len(text) > MAX_TEXT_LENGTH:
        return Decision(outcome=REFUSE, reason="too_long", details={"length": len(text)})
    if files and not conversation.api_channel.provider.sends_files:
        return Decision(outcome=REFUSE, reason="files_not_supported")
    if window.is_open:
        recognized = None if files else template_decisions.decide_in_open_window(conversation, text)
        decision = recognized or Decision(outcome=TEXT, text=text)
    else:
        reason = "window_closed" if window.expires_at else "contact_never_wrote"
        recognized = None if files else template_decisions.decide_in_closed_window(conversation, text)
        decision = recognized or Decision(outcome=REFUSE, reason=reason)
    return replace(decision, context=_describe_window(window))


def refuse_unreachable(conversation: Conversation) -> Decision | None:
    """Return the refusal if the channel is archived, or the person was erased or writes from another number."""
    contact = conversation.contact
    if conversation.api_channel.archived_at is not None:
        return Decision(outcome=REFUSE, reason="channel_archived")
    if contact.erased_at:
        return Decision(outcome=REFUSE, reason="person_erased")
    new_contact = contact_links.find_new_contact(conversation)
    if new_contact is None:
        return None
    chats = contact_links.visible_chat_ids(new_contact, like=conversation)
    number = phone_visibility.visible_id(contact_links.display_id(new_contact), new_contact.api_channel_id)
    details = {"after": number, "chat": chats[0] if chats else "—"}
    return Decision(outcome=REFUSE, reason="contact_moved", details=details)


def _describe_window(window: service_window.WindowState) -> dict[str, Any]:
    return {"window": window.state, "expires_at": window.expires_at.isoformat() if window.expires_at else None}


def get_quotable_message(conversation: Conversation, message_id: int | None) -> Message | None:
    """Return the message of this chat that a reply may quote, if the provider supports quotes and knows the message."""
    if message_id is None or not conversation.api_channel.provider.supports_quotes:
        return None
    return Message.objects.filter(pk=message_id, conversation=conversation).exclude(external_id="").first()


@transaction.atomic
def submit_reply(
    *,
    conversation_id: int,
    text: str,
    author: Any,
    keep_draft: bool = False,
    deletes_draft: bool = True,
    uploads: Sequence[Upload] = (),
    replies_to: int | None = None,
    form_key: str = "",
    ticket: Ticket | None = None,
    extra_context: Mapping[str, Any] | None = None,
) -> SubmitResult:
    """Send an operator's reply as text or template, or refuse it with the reason and keep it as a draft.

    Each file is a message of its own.

    `deletes_draft`: delete the author's draft; False for text that was written long ago. `replies_to`: the message that
    the first new message quotes. `form_key`: the key of the submitted draft; a newer draft of the author is kept.
    `ticket`: the request to use instead of the current one. `extra_context`: stored with the decision.

    Locks the conversation, so that replies of two operators get one order.
    """
    conversation = receiving.lock_conversation(conversation_id)
    now = service_window.database_now()
    window = service_window.get_window_state(conversation, now=now)
    decision = decide_reply(conversation, text, window=window, files=uploads)
    decision, quoted = _apply_quote(conversation, decision, replies_to)
    recording.count_reply(conversation.api_channel_id, decision.outcome)
    if not decision.is_accepted:
        if keep_draft and text.strip():
            _save_refused_draft(conversation.pk, author=author, text=text, decision=decision, key=form_key)
        return SubmitResult(decision=decision)
    if decision.template:
        decision = replace(decision, context=decision.context | {"how": RECOGNIZED})
    if extra_context:
        decision = replace(decision, context=decision.context | dict(extra_context))
    return _create_messages(
        conversation,
        decision,
        uploads,
        author=author,
        now=now,
        deletes_draft=deletes_draft,
        quoted=quoted,
        form_key=form_key,
        ticket=ticket,
    )


def _create_messages(
    conversation: Conversation,
    decision: Decision,
    uploads: Sequence[Upload],
    *,
    author: Any,
    now: datetime,
    deletes_draft: bool,
    quoted: Message | None,
    form_key: str,
    ticket: Ticket | None,
) -> SubmitResult:
    """Create the message of a reply, or one message per file. Return the result of the first one.

    The text is the first file's caption, or a separate message before it if it is too long for a caption.
    """
    parts: list[tuple[str, Upload | None]] = [("", upload) for upload in uploads] or [(decision.text, None)]
    if uploads and len(decision.text) > MAX_CAPTION_LENGTH:
        parts.insert(0, (decision.text, None))
    elif uploads:
        parts[0] = (decision.text, uploads[0])
    results = [
        _create_message(
            conversation,
            replace(decision, text=text),
            author=author,
            now=now,
            deletes_draft=deletes_draft or bool(uploads),
            upload=upload,
            quoted=None if index else quoted,
            form_key="" if index else form_key,
            ticket=ticket,
        )
        for index, (text, upload) in enumerate(parts)
    ]
    return results[0]


def _apply_quote(
    conversation: Conversation, decision: Decision, replies_to: int | None
) -> tuple[Decision, Message | None]:
    """Refuse the reply if the message that it quotes cannot be quoted. Return the decision and the quoted message."""
    if not decision.is_accepted or replies_to is None:
        return decision, None
    quoted = get_quotable_message(conversation, replies_to)
    return (decision if quoted else Decision(outcome=REFUSE, reason="nothing_to_quote")), quoted


@transaction.atomic
def submit_template_reply(
    *,
    conversation_id: int,
    template_id: int,
    parameters: Any,
    author: Any,
    replies_to: int | None = None,
    form_key: str = "",
) -> SubmitResult:
    """Send a template that was chosen with its values, whether the window is open or closed.

    `parameters`: a list for numbered variables, an object for named ones, or an object by variable keys.
    """
    conversation = receiving.lock_conversation(conversation_id)
    now = service_window.database_now()
    if (refusal := refuse_unreachable(conversation)) is not None:
        recording.count_reply(conversation.api_channel_id, refusal.outcome)
        return SubmitResult(decision=refusal)
    decision = template_decisions.decide_chosen_template(conversation, template_id=template_id, parameters=parameters)
    decision, quoted = _apply_quote(conversation, decision, replies_to)
    recording.count_reply(conversation.api_channel_id, decision.outcome)
    if not decision.is_accepted:
        return SubmitResult(decision=decision)
    context = _describe_window(service_window.get_window_state(conversation, now=now)) | {"how": CHOSEN}
    decision = replace(decision, context=context)
    return _create_message(conversation, decision, author=author, now=now, quoted=quoted, form_key=form_key)


def _create_message(
    conversation: Conversation,
    decision: Decision,
    *,
    author: Any,
    now: datetime,
    deletes_draft: bool = True,
    upload: Upload | None = None,
    quoted: Message | None = None,
    form_key: str = "",
    ticket: Ticket | None = None,
) -> SubmitResult:
    has_own_ticket, started = ticket is not None, tracing.start_clock()
    is_automatic = AUTOMATIC in decision.context
    current = tickets.get_current_ticket(conversation) if is_automatic else None
    if current is not None:
        ticket, is_new = current, False
    else:
        ticket, is_new = _get_ticket_for_reply(conversation, decision.text, now=now, ticket=ticket)
    template = decision.template
    kind = Message.Kind.TEMPLATE if template else Message.Kind.TEXT
    message = Message.objects.create(
        conversation=conversation,
        merged_contact_id=service_window.get_addressee_id(conversation),
        api_channel=conversation.api_channel,
        ticket=ticket,
        direction=Message.Direction.OUTBOUND,
        kind=Message.Kind.FILE if upload and not decision.text else kind,
        text=decision.text,
        template=template.as_json() if template else None,
        author=author,
        status=Message.Status.PENDING,
        details=decision.context,
        quoted=quoted,
        form_key=form_key,
    )
    if not is_automatic:
        last_messages.set_last_message(conversation, message, now=now)
        conversation.unread, conversation.change_after_answer, conversation.unread_marked_at = 0, "", None
    if (current := tickets.get_current_ticket(conversation) if has_own_ticket else None) is not None:
        conversation.request_status = current.status
    stamp = subscribers.advance_event_stamp(conversation, now=now)
    conversation.save(
        update_fields=[
            *last_messages.LAST_MESSAGE_FIELDS,
            *last_messages.UNREAD_FIELDS,
            "request_status",
            "event_stamp",
        ]
    )
    if not is_automatic:
        service_window.record_reply(conversation.pk, at=now)
    if template:
        lifecycle.record_use(template.id, user=author)
    tracing.record_reply(message, started=started)
    context = subscribers.MessageContext(
        message=message,
        conversation=conversation,
        ticket=ticket,
        new_ticket=is_new,
        stamp=stamp,
        attachments=(_attach_upload(message, upload),) if upload else (),
    )
    _promote_bulk_deliveries(conversation)
    Delivery.objects.bulk_create(subscribers.build_deliveries([context]))
    if deletes_draft:
        _get_sent_drafts(conversation.pk, author, form_key).delete()
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    wakeups.notify_after_commit(wakeups.EVENTS)  # other subscribers get the reply as an event
    return SubmitResult(decision=decision, message=message, ticket=ticket)


def _promote_bulk_deliveries(conversation: Conversation) -> None:
    """Move bulk resends of this chat ahead of those of other chats: the reply is sent after them, and must not wait."""
    Delivery.objects.filter(
        api_channel=conversation.api_channel_id,
        conversation=conversation,
        kind=Delivery.Kind.MESSAGE,
        state=Delivery.State.PENDING,
        priority=Delivery.Priority.BULK,
    ).update(priority=Delivery.Priority.ANSWER)


def _attach_upload(message: Message, upload: Upload) -> Attachment:
    """Attach the uploaded file, unchanged, to the message."""
    upload.message = message
    upload.save(update_fields=["message"])
    return Attachment.objects.create(
        message=message,
        file=upload.file.name,
        name=upload.name,
        mime=upload.mime,
        size=upload.size,
        width=upload.width,
        height=upload.height,
        sha256=upload.sha256,
    )


def _get_ticket_for_reply(
    conversation: Conversation, text: str, *, now: datetime, ticket: Ticket | None = None
) -> tuple[Ticket, bool]:
    """Return the open request, marked as answered, and whether it is new. A new one is created if none is open."""
    ticket = ticket or tickets.get_current_ticket(conversation)
    if ticket is None:
        ticket = Ticket.objects.create(
            conversation=conversation,
            assignee_id=conversation.assignee_id,
            team_id=conversation.team_id,
            subject=text.split("\n")[0][:80],
            first_text=text,
            status=Ticket.Status.OPEN,
            first_answer_at=now,
        )
        return ticket, True
    if ticket.first_answer_at is None:
        ticket.first_answer_at = now
    if ticket.status == Ticket.Status.NEW:
        ticket.status = Ticket.Status.OPEN
    ticket.save(update_fields=["first_answer_at", "status", "updated_at"])
    return ticket, False


def save_draft(
    conversation_id: int,
    *,
    author: Any,
    text: str,
    decision: Decision | None = None,
    key: str = "",
    written_at: datetime | None = None,
) -> bool:
    """Keep an operator's unsent text in a chat, with the reason if it was refused. Empty text deletes the draft.

    Return False if the stored draft is newer than `written_at`: a late request of another tab changes nothing.
    """
    rows = Draft.objects.filter(conversation=conversation_id, user=author)
    if not text:
        rows = rows.filter(key__in=["", key]) if key else rows
        return bool(rows.exclude(written_at__gt=written_at).delete()[0] if written_at else rows.delete()[0])
    reason, details = (decision.reason, decision.details) if decision else ("", {})
    values = {"text": text, "reason": reason, "details": details, "key": key, "written_at": written_at}
    with transaction.atomic():
        draft, is_new = Draft.objects.select_for_update(no_key=True).get_or_create(
            conversation_id=conversation_id, user=author, defaults=values
        )
        if is_new:
            return True
        if written_at and draft.written_at and draft.written_at > written_at:
            return False
        for name, value in values.items():
            setattr(draft, name, value)
        draft.save(update_fields=[*values, "updated_at"])
        return True


def _save_refused_draft(conversation_id: int, *, author: Any, text: str, decision: Decision, key: str) -> None:
    """Make refused text a draft again, before any newer text of its author."""
    newer = Draft.objects.filter(conversation=conversation_id, user=author).exclude(key__in=["", key]).first()
    if key and newer is not None:
        text = f"{text}\n{newer.text}"
    save_draft(conversation_id, author=author, text=text, decision=decision, key=key)


def _get_sent_drafts(conversation_id: int, author: Any, key: str) -> QuerySet[Draft]:
    """Return the draft that was just sent. With a key, a draft with another key is newer and is left out."""
    rows = Draft.objects.filter(conversation=conversation_id, user=author)
    return rows.filter(key__in=["", key]) if key else rows
