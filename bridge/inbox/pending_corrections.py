"""Pending corrections: reactions, edits and deletions that arrived before their message.

An edit contains the whole text, so it is stored as the message at once; the original is merged into it when it arrives.
Reactions and deletions wait for their message. After SHOW_AFTER a correction is shown without its message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from bridge import service_window
from bridge.conversations import contacts, conversation_creation, message_lookup, receiving, tickets
from bridge.fanout import correction_notes, subscribers
from bridge.files import attachment_files
from bridge.models import Contact, Conversation, Message, PendingCorrection
from bridge.notices import create_notice
from bridge.person_erased import PersonErased
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel
from channels_setup.providers.base import (
    ContactInfo,
    Correction,
    EchoSeen,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    ReactionChanged,
)

from . import corrections, echoes

Kind = PendingCorrection.Kind
SHOW_AFTER = timedelta(minutes=1)
KEEP_FOR = timedelta(days=8)  # providers repeat webhooks for a week
PENDING_BATCH = 200
FAILING = FailingItems("pending_corrections")


@dataclass(frozen=True, kw_only=True)
class CorrectionResult:
    """Facts to store as messages instead of a correction, and the contacts that it names, if known."""

    stand_ins: Sequence[MessageReceived | EchoSeen] = ()
    contact_ids: Collection[int | None] = ()


@transaction.atomic
def apply_or_keep_correction(api_channel: ApiChannel, fact: Correction) -> CorrectionResult:
    """Apply a correction, or keep it until its message arrives."""
    target = corrections.lock_target_message(api_channel, fact.target_id)
    if target is not None:
        corrections.apply_correction(fact, *target)
        return CorrectionResult(contact_ids=receiving.list_contact_ids(*target))
    if isinstance(fact, MessageEdited) and fact.text and not (fact.by_us and _may_be_unconfirmed(api_channel, fact)):
        return CorrectionResult(stand_ins=[_build_stand_in(fact)])
    if fact.target_id:
        _keep_correction(api_channel, fact)
    if isinstance(fact, ReactionChanged) and fact.emoji and not fact.by_us:
        conversation, merged_id = _lock_latest_conversation(api_channel, fact.contact)
        if conversation is not None:
            corrections.extend_window(conversation, fact.at, message=None, merged_contact_id=merged_id)
            return CorrectionResult(contact_ids=[conversation.contact_id, merged_id])
    return CorrectionResult()


def _build_stand_in(fact: MessageEdited) -> MessageReceived | EchoSeen:
    """Return the edit as a message with the ID of the message that it changed."""
    fact_class = EchoSeen if fact.by_us else MessageReceived
    return fact_class(
        contact=fact.contact,
        text=fact.text,
        external_id=fact.target_id or fact.external_id,
        at=fact.at,
        shown={"edited_at": corrections.format_stamp(fact.at), "original": echoes.ORIGINAL_MISSING},
    )


def _may_be_unconfirmed(api_channel: ApiChannel, fact: Correction) -> bool:
    """Return whether the correction may be about an outbound message whose provider ID is not known yet."""
    conversation, _merged_id = _lock_latest_conversation(api_channel, fact.contact)
    unconfirmed = (Message.Status.PENDING, Message.Status.SENDING, Message.Status.UNKNOWN)
    rows = Message.objects.filter(conversation=conversation, direction=Message.Direction.OUTBOUND, external_id="")
    return conversation is not None and rows.filter(status__in=unconfirmed).exists()


def _keep_correction(api_channel: ApiChannel, fact: Correction) -> None:
    kinds = {ReactionChanged: Kind.REACTION, MessageEdited: Kind.EDIT, MessageRevoked: Kind.REVOKE}
    text = fact.emoji if isinstance(fact, ReactionChanged) else getattr(fact, "text", "")
    row = PendingCorrection(
        api_channel=api_channel,
        target_id=fact.target_id,
        kind=kinds[type(fact)],
        by_us=fact.by_us,
        contact={name: value for name, value in asdict(fact.contact).items() if value},
        text=text,
        external_id=fact.external_id,
        at=fact.at,
    )
    PendingCorrection.objects.bulk_create([row], ignore_conflicts=True)


def _restore_fact(row: PendingCorrection) -> Correction:
    contact = ContactInfo(**row.contact)
    if row.kind == Kind.REACTION:
        return ReactionChanged(
            contact=contact,
            target_id=row.target_id,
            emoji=row.text,
            external_id=row.external_id,
            at=row.at,
            by_us=row.by_us,
        )
    if row.kind == Kind.EDIT:
        return MessageEdited(
            contact=contact,
            target_id=row.target_id,
            text=row.text,
            external_id=row.external_id,
            at=row.at,
            by_us=row.by_us,
        )
    return MessageRevoked(
        contact=contact, target_id=row.target_id, external_id=row.external_id, at=row.at, by_us=row.by_us
    )


# --- the message arrives ---------------------------------------------------------------------------------


def merge_late_original(api_channel: ApiChannel, fact: MessageReceived | EchoSeen, message: Message) -> None:
    """Merge a late original into the message that was stored from its edit. Its text becomes the former text."""
    if fact.shown.get("original") == echoes.ORIGINAL_MISSING or message.external_id != fact.external_id:
        return
    if message.shown.get("original") != echoes.ORIGINAL_MISSING:
        return
    message = Message.objects.select_for_update(no_key=True).get(pk=message.pk)
    shown = {name: value for name, value in message.shown.items() if name != "original"}
    if fact.text and fact.text != message.text:
        shown["former"] = [fact.text, *shown.get("former", [])]
    message.shown = {**fact.shown, **shown}
    message.provider_time = fact.at or message.provider_time
    message.save(update_fields=["shown", "provider_time"])
    attachments = attachment_files.create_attachments([(message, fact.files)])
    if fact.quoted_id:
        message_lookup.link_quotes(api_channel, [(message, fact.quoted_id)])
    if attachments:
        correction_notes.note_late_files(
            message, [subscribers.build_file_link(attachment) for attachment in attachments]
        )


def apply_pending_corrections(api_channel: ApiChannel, external_ids: Iterable[str]) -> None:
    """Apply the pending corrections of messages that have just been stored."""
    if not (ids := set(external_ids) - {""}):
        return
    rows = PendingCorrection.objects.filter(api_channel=api_channel, target_id__in=ids)
    for row in list(rows.order_by("at", "pk")):
        _apply_pending(row)


def _apply_pending(row: PendingCorrection) -> bool:
    """Apply one pending correction if its message is stored. Runs in the caller's transaction."""
    target = corrections.lock_target_message(row.api_channel, row.target_id)
    locked = PendingCorrection.objects.select_for_update(no_key=True, of=("self",)).filter(pk=row.pk).first()
    if target is None or locked is None:
        return False
    corrections.apply_correction(_restore_fact(locked), *target)
    if locked.shown_message_id is not None:  # it was shown without its message
        Message.objects.filter(pk=locked.shown_message_id).delete()
    locked.delete()
    return True


# --- the message does not arrive -------------------------------------------------------------------------


def process_pending_corrections() -> int:
    """Apply corrections whose message has arrived, show overdue ones, delete old ones. Return their number."""
    now = service_window.database_now()
    PendingCorrection.objects.filter(received_at__lt=now - KEEP_FOR).delete()
    processed = 0
    rows = (
        PendingCorrection.objects.select_related("api_channel")
        .order_by("received_at")
        .exclude(pk__in=FAILING.items_in_backoff())
    )
    targets = Message.objects.filter(api_channel=OuterRef("api_channel"), external_id=OuterRef("target_id"))
    has_arrived = Q(Exists(targets.exclude(external_id="")))
    to_show = rows.filter(has_arrived | Q(received_at__lt=now - SHOW_AFTER), is_shown=False)
    arrived = rows.filter(has_arrived, is_shown=True)  # an outbound message whose ID came late
    for row in [*to_show[:PENDING_BATCH], *arrived[:PENDING_BATCH]]:
        with FAILING.isolate(row.pk):
            processed += _process_pending_correction(row, now)
    return processed


@transaction.atomic
def _process_pending_correction(row: PendingCorrection, now: datetime) -> bool:
    if _apply_pending(row):
        return True
    return not row.is_shown and row.received_at < now - SHOW_AFTER and _show_unmatched(row)


def _show_unmatched(row: PendingCorrection) -> bool:
    """Show a correction in the chat without its message. It opens no request and marks nothing as unread."""
    fact = _restore_fact(row)
    is_reaction = isinstance(fact, ReactionChanged) and bool(fact.emoji)
    conversation, merged_id = _lock_latest_conversation(
        row.api_channel, fact.contact, create=is_reaction and not fact.by_us
    )
    locked = PendingCorrection.objects.select_for_update(no_key=True, of=("self",)).filter(pk=row.pk).first()
    if locked is None or locked.is_shown:
        return False
    if conversation is not None and is_reaction:
        locked.shown_message = _create_reaction_message(row, conversation, merged_id)
        if not row.by_us:
            corrections.extend_window(conversation, row.at, message=locked.shown_message, merged_contact_id=merged_id)
        correction_notes.note_stray_reaction(fact, conversation)
    elif conversation is not None and isinstance(fact, MessageRevoked):
        if row.by_us:
            create_notice(conversation, "unknown_reply_deleted")
        else:
            create_notice(conversation, "unknown_message_deleted")
    elif (
        isinstance(fact, MessageEdited)
        and fact.text
        and fact.by_us
        and row.api_channel.default_chat_channel is not None
    ):
        stand_in = _build_stand_in(fact)
        if isinstance(stand_in, EchoSeen):
            echoes.store_echo(row.api_channel, stand_in, chat_channel=row.api_channel.default_chat_channel)
        locked.delete()
        return True
    locked.is_shown = True
    locked.save(update_fields=["shown_message", "is_shown"])
    return True


def _create_reaction_message(
    row: PendingCorrection, conversation: Conversation, merged_contact_id: int | None
) -> Message:
    direction = Message.Direction.OUTBOUND if row.by_us else Message.Direction.INBOUND
    return Message.objects.create(
        conversation=conversation,
        api_channel=row.api_channel,
        merged_contact_id=merged_contact_id,
        ticket=tickets.get_current_ticket(conversation),
        direction=direction,
        text=row.text,
        provider_time=row.at,
        status=Message.Status.SENT if row.by_us else Message.Status.RECEIVED,
        shown={"what": "reaction", "emoji": row.text} | ({"from_phone": True} if row.by_us else {}),
    )


def _lock_latest_conversation(
    api_channel: ApiChannel, info: ContactInfo, *, create: bool = False
) -> tuple[Conversation | None, int | None]:
    """Lock the contact's newest conversation on this channel. ``create``: create one if there is none.

    The second value is the contact's ID if it was merged into the conversation's contact. Raises PersonErased.
    """
    contact = contacts.find_contact(api_channel, info)
    if contact is not None:
        rows = Conversation.objects.filter(contact=contact.owner_id, api_channel=api_channel)
        pk = rows.order_by("-last_message_at").values_list("pk", flat=True).first()
        if pk is not None:
            conversation = receiving.lock_conversation(pk)
            if conversation.is_erased:  # while this waited for the lock
                raise PersonErased
            return _pair_with_merged_id(conversation, contact)
    chat_channel = api_channel.default_chat_channel
    if not create or chat_channel is None or not (info.external_id or info.user_id):
        return None, None
    [new_contact] = contacts.resolve_contacts(api_channel, [contacts.ContactData(info=info)]).contacts
    chats, _new_ids = conversation_creation.get_or_create_conversations(api_channel, [(new_contact, chat_channel)])
    return _pair_with_merged_id(chats[new_contact.pk, chat_channel.pk], new_contact)


def _pair_with_merged_id(conversation: Conversation, contact: Contact) -> tuple[Conversation, int | None]:
    return conversation, contact.pk if contact.pk != conversation.contact_id else None
