"""Changes of a contact's identity: a new number, a number of somebody else's, another contact of the same person.

Nothing is merged here. An id goes to the contact that the provider names now; the contact that loses it remembers
until when it was theirs, and points at the one under which the person writes now. Each change is told by a notice in
the chats of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bridge import service_window
from bridge.fanout import helpdesk_messages
from bridge.models import Contact, Conversation, FormerId, Message
from bridge.notices import create_notice
from channels_setup.codecs.phone_numbers import phone_key

EXTERNAL_ID, USER_ID = FormerId.Kind.EXTERNAL_ID, FormerId.Kind.USER_ID
MAX_MOVES = 8  # moves of one person that are followed


@dataclass(frozen=True, kw_only=True)
class IdentityChange:
    """A change to announce in the chats of a contact. ``event_id``: the provider's, to announce it once."""

    contact: Contact
    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    other: Contact | None = None  # whose chat the notice names
    event_id: str = ""


def display_id(contact: Contact) -> str:
    """What people know a contact by: the phone, else an id."""
    return contact.phone or contact.external_id or contact.user_id


def follow_moves(contact: Contact) -> Contact:
    """Follow a contact to the one under which the person writes now."""
    for _step in range(MAX_MOVES):
        if contact.moved_to is None:
            break
        contact = contact.moved_to
    return contact


def find_recipient(contact: Contact, conversation: Conversation) -> Contact | None:
    """The contact that an answer meant for this one goes to, in the same chat; None where the person has left it."""
    present = follow_moves(contact)
    return present if present.pk == contact.pk or present.owner_id == conversation.contact_id else None


def find_new_contact(conversation: Conversation) -> Contact | None:
    """The contact under which the person writes now, in another chat; None while answers reach them here."""
    contact = conversation.contact
    if (merged := service_window.get_addressee_id(conversation)) is not None:
        contact = Contact.objects.select_related("moved_to").get(pk=merged)
    if contact.moved_to_id is None or find_recipient(contact, conversation) is not None:
        return None
    return follow_moves(contact)


def change_number(
    contact: Contact, external_id: str, *, at: datetime, user_id: str = "", event_id: str = "", reason: str = ""
) -> list[IdentityChange]:
    """Give a contact another number or user id that nobody has; what it had before is remembered."""
    before = display_id(contact)
    changed: dict[str, Any] = {}
    if external_id and external_id != contact.external_id:
        old_key = contact.address_key
        release_id(contact, EXTERNAL_ID, until=at)
        changed["external_id"] = external_id
        if not contact.phone or phone_key(contact.phone) == old_key:  # else a person put another phone on the card
            changed["phone"] = f"+{external_id}" if phone_key(external_id) else contact.phone
    if user_id and user_id != contact.user_id:
        release_id(contact, USER_ID, until=at)
        changed["user_id"] = user_id
    if not changed:
        return []
    _save(contact, **changed)
    after = display_id(contact) if "external_id" in changed else user_id
    before = before if "external_id" in changed else display_id(contact)
    details = {"before": before, "after": after}
    return [IdentityChange(contact=contact, reason=reason or "contact_changed", details=details, event_id=event_id)]


def move_contact(old: Contact, new: Contact, *, at: datetime, event_id: str = "") -> list[IdentityChange]:
    """Note that a person who wrote as ``old`` now writes as ``new``. The old contact keeps its chats and no address."""
    if old.pk == new.pk:
        return []
    details = {"before": display_id(old), "after": display_id(new)}
    user_id = old.user_id
    release_id(old, EXTERNAL_ID, until=at)
    release_id(old, USER_ID, until=at)
    if user_id and not new.user_id:
        _save(new, user_id=user_id)
    if new.moved_to_id is not None:
        _save(new, moved_to=None, moved_at=None)
    _save(old, moved_to=new, moved_at=at)
    return [
        IdentityChange(contact=old, reason="contact_moved_away", details=details, other=new, event_id=event_id),
        IdentityChange(contact=new, reason="contact_moved_here", details=details, other=old, event_id=event_id),
    ]


def transfer_number(
    loser: Contact, external_id: str, taker: Contact, *, at: datetime, event_id: str = ""
) -> list[IdentityChange]:
    """Give a number to the person whose user id came with it; somebody else had it before."""
    details = {"number": display_id(loser)}
    release_id(loser, EXTERNAL_ID, until=at)
    changes = change_number(taker, external_id, at=at, event_id=event_id)
    return [
        IdentityChange(contact=loser, reason="contact_number_passed_on", details=details, event_id=event_id),
        *changes,
    ]


def release_id(contact: Contact, kind: FormerId.Kind, *, until: datetime) -> None:
    """Take an id from a contact, remembering that it was theirs until then."""
    value = getattr(contact, kind)
    if value:
        FormerId.objects.create(
            contact=contact, api_channel_id=contact.api_channel_id, kind=kind, value=value, until=until
        )
        _save(contact, **{str(kind): ""})


def _save(contact: Contact, **values: Any) -> None:
    for name, value in values.items():
        setattr(contact, name, value)
    contact.save(update_fields=list(values))


def announce_changes(changes: Sequence[IdentityChange]) -> None:
    """Write each change into the chats of its contact, once however often the news come."""
    for change in changes:
        change = _as_same_chat(change)
        if change.reason == "contact_moved_here" and change.other is None:
            continue
        chats = Conversation.objects.filter(contact=change.contact.owner_id)
        for chat in chats.select_related("contact", "chat_channel").order_by("pk"):
            told = Message.objects.filter(conversation=chat, direction=Message.Direction.NOTICE)
            if change.event_id and told.filter(reason=change.reason, details__event_id=change.event_id).exists():
                continue
            details = dict(change.details)
            if change.other is not None:
                visible = visible_chat_ids(change.other, like=chat)
                details["chat"] = visible[0] if visible else "—"
            create_notice(chat, change.reason, **details, event_id=change.event_id)
        outside = chats.filter(helpdesk_chat__isnull=False).order_by("pk")
        for chat in outside.select_for_update(of=("self",), no_key=True).select_related("contact", "chat_channel"):
            helpdesk_messages.queue_changed_card(chat)


def _as_same_chat(change: IdentityChange) -> IdentityChange:
    """Contacts that were merged share a chat: there a move is told once, as a new number."""
    if change.other is None or change.other.owner_id != change.contact.owner_id:
        return change
    reason = "contact_changed" if change.reason == "contact_moved_away" else change.reason
    return replace(change, reason=reason, other=None)


def visible_chat_ids(contact: Contact, *, like: Conversation) -> list[int]:
    """Chats of a contact in the same chat channel: those that whoever sees the other chat may see."""
    found = Conversation.objects.filter(contact=contact.owner_id, chat_channel=like.chat_channel_id)
    return list(found.order_by("-last_message_at").values_list("pk", flat=True)[:1])
