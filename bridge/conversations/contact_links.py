"""Identity changes of contacts: a new number, a reassigned number, a move to another contact.

Contacts are not merged here. An ID moves to the contact that the provider names now. The former contact keeps the ID
with its end date (FormerId) and points at the contact under which the person writes now (``moved_to``). Notices in the
chats of both announce each change.
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
MAX_MOVES = 8  # followed at most, against cycles


@dataclass(frozen=True, kw_only=True)
class IdentityChange:
    """A change to announce in the chats of a contact. ``event_id``: the provider's, to announce it once."""

    contact: Contact
    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    other: Contact | None = None  # contact whose chat the notice names
    event_id: str = ""


def display_id(contact: Contact) -> str:
    """Return the contact's phone, or an ID."""
    return contact.phone or contact.external_id or contact.user_id


def follow_moves(contact: Contact) -> Contact:
    """Follow a contact to the one under which the person writes now."""
    for _step in range(MAX_MOVES):
        if contact.moved_to is None:
            break
        contact = contact.moved_to
    return contact


def find_recipient(contact: Contact, conversation: Conversation) -> Contact | None:
    """Return the contact that receives replies to this one in the chat. None if the person moved to another chat."""
    current = follow_moves(contact)
    return current if current.pk == contact.pk or current.owner_id == conversation.contact_id else None


def find_new_contact(conversation: Conversation) -> Contact | None:
    """Return the contact in another chat under which the person writes now. None if replies here reach them."""
    contact = conversation.contact
    if (merged := service_window.get_addressee_id(conversation)) is not None:
        contact = Contact.objects.select_related("moved_to").get(pk=merged)
    if contact.moved_to_id is None or find_recipient(contact, conversation) is not None:
        return None
    return follow_moves(contact)


def change_number(
    contact: Contact, external_id: str, *, at: datetime, user_id: str = "", event_id: str = "", reason: str = ""
) -> list[IdentityChange]:
    """Give a contact a new number or user ID that no contact has. The old one is stored as a former ID."""
    before = display_id(contact)
    changed: dict[str, Any] = {}
    if external_id and external_id != contact.external_id:
        old_key = contact.address_key
        release_id(contact, EXTERNAL_ID, until=at)
        changed["external_id"] = external_id
        if not contact.phone or phone_key(contact.phone) == old_key:  # otherwise a person entered another phone
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
    """Record that a person moved from contact ``old`` to ``new``. The old one keeps its chats, but no IDs."""
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
    former: Contact, external_id: str, new: Contact, *, at: datetime, event_id: str = ""
) -> list[IdentityChange]:
    """Move a number from contact ``former`` to the contact whose user ID came with it."""
    details = {"number": display_id(former)}
    release_id(former, EXTERNAL_ID, until=at)
    changes = change_number(new, external_id, at=at, event_id=event_id)
    return [
        IdentityChange(contact=former, reason="contact_number_passed_on", details=details, event_id=event_id),
        *changes,
    ]


def release_id(contact: Contact, kind: FormerId.Kind, *, until: datetime) -> None:
    """Remove an ID from a contact and store it as a former ID."""
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
    """Write a notice of each change into the contact's chats, once per provider event."""
    for change in changes:
        change = _as_same_chat(change)
        if change.reason == "contact_moved_here" and change.other is None:
            continue
        chats = Conversation.objects.filter(contact=change.contact.owner_id)
        for chat in chats.select_related("contact", "chat_channel").order_by("pk"):
            notices = Message.objects.filter(conversation=chat, direction=Message.Direction.NOTICE)
            if change.event_id and notices.filter(reason=change.reason, details__event_id=change.event_id).exists():
                continue
            details = dict(change.details)
            if change.other is not None:
                visible = visible_chat_ids(change.other, like=chat)
                details["chat"] = visible[0] if visible else "—"
            create_notice(chat, change.reason, **details, event_id=change.event_id)
        mirrored = chats.filter(helpdesk_chat__isnull=False).order_by("pk")
        for chat in mirrored.select_for_update(of=("self",), no_key=True).select_related("contact", "chat_channel"):
            helpdesk_messages.queue_changed_card(chat)


def _as_same_chat(change: IdentityChange) -> IdentityChange:
    """Turn a move between merged contacts, who share a chat, into one change of number."""
    if change.other is None or change.other.owner_id != change.contact.owner_id:
        return change
    reason = "contact_changed" if change.reason == "contact_moved_away" else change.reason
    return replace(change, reason=reason, other=None)


def visible_chat_ids(contact: Contact, *, like: Conversation) -> list[int]:
    """Return the ID of the contact's newest chat that users of the chat ``like`` may see, or an empty list."""
    found = Conversation.objects.filter(contact=contact.owner_id, chat_channel=like.chat_channel_id)
    return list(found.order_by("-last_message_at").values_list("pk", flat=True)[:1])
