"""Merge rules: whether two contacts can be merged, and a preview of the merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import merge_lookup

from ..models import (
    Contact,
    ContactNote,
    Conversation,
    Delivery,
    Draft,
    HeldReply,
    HelpdeskChat,
    Message,
    ServiceWindow,
    Ticket,
)

MERGE_PERMISSION = "bridge.merge_contact"


class MergeRefused(Exception):
    """The merge or its undo is not possible. The text is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class ChatMergePreview:
    """Data of the source contact in one chat channel."""

    chat: Conversation
    into: Conversation | None  # None: the target has no chat there yet
    messages: int
    requests: int
    windows: int
    deliveries: int  # not sent yet
    held: int
    drafts: int
    clashes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class MergePreview:
    """Preview of a merge. ``problem``: why it is not possible, or empty."""

    source: Contact
    target: Contact
    problem: str = ""
    chats: Sequence[ChatMergePreview] = ()
    notes: int = 0
    tags: Sequence[str] = ()
    keeps: dict[str, str] = field(default_factory=dict)


def find_merge_problem(source: Contact, target: Contact) -> str:
    """Return a sentence why the contacts cannot be merged, or an empty string."""
    if source.pk == target.pk:
        return _("This is the same client. Choose another one.")
    if source.erased_at or target.erased_at:
        return _("One of the two clients has been erased.")
    if source.merged_into_id or target.merged_into_id:
        return _("One of the two clients has already been merged.")
    if source.api_channel_id != target.api_channel_id:
        return _(
            "These clients use different API channels. A chat belongs to one API channel, so they cannot share a chat."
        )
    return ""


def find_chats(*contacts: Contact) -> Any:
    return Conversation.objects.filter(contact__in=[contact.pk for contact in contacts])


def preview_merge(source: Contact, target: Contact) -> MergePreview:
    """Return the data that would move and the conflicts. Writes nothing."""
    if problem := find_merge_problem(source, target):
        return MergePreview(source=source, target=target, problem=problem)
    own = {chat.chat_channel_id: chat for chat in find_chats(target)}
    chats = find_chats(source).select_related("chat_channel", "api_channel").order_by("pk")
    return MergePreview(
        source=source,
        target=target,
        chats=[_preview_chat(chat, own.get(chat.chat_channel_id)) for chat in chats],
        notes=ContactNote.objects.filter(contact__in=merge_lookup.list_people(source)).count(),
        tags=[tag for tag in source.tags if tag not in target.tags],
        keeps=choose_fields(source, target),
    )


def choose_fields(source: Contact, target: Contact) -> dict[str, str]:
    """Return name and email of the merged contact: those of the target, else those of the source."""
    named = target if target.name else source
    return {"name": named.name, "name_source": named.name_source, "email": target.email or source.email}


def _preview_chat(chat: Conversation, into: Conversation | None) -> ChatMergePreview:
    messages = Message.objects.filter(conversation=chat).exclude(direction=Message.Direction.NOTICE)
    counts = Ticket.objects.filter(conversation=chat).aggregate(
        all=Count("pk"), live=Count("pk", filter=~Q(status__in=Ticket.ENDED))
    )
    return ChatMergePreview(
        chat=chat,
        into=into,
        messages=messages.count(),
        requests=counts["all"],
        windows=ServiceWindow.objects.filter(conversation=chat).count(),
        deliveries=Delivery.objects.filter(conversation=chat, state__in=Delivery.UNFINISHED).count(),
        held=HeldReply.objects.filter(conversation=chat, state=HeldReply.State.HELD).count(),
        drafts=Draft.objects.filter(conversation=chat).count(),
        clashes=list(_describe_clashes(chat, into, has_live=counts["live"] > 0)) if into else [],
    )


def _describe_clashes(chat: Conversation, into: Conversation, *, has_live: bool) -> Any:
    now = service_window.database_now()
    if has_live and Ticket.objects.filter(conversation=into).exclude(status__in=Ticket.ENDED).exists():
        yield _("Both have an open request. One stays open, the other is marked as merged.")
    if len(_find_open_windows(chat, now=now)) + len(_find_open_windows(into, now=now)) > 1:
        yield _("Both windows are open. Replies go to the number that wrote last.")
    authors = Draft.objects.filter(conversation=into).values("user")
    if Draft.objects.filter(conversation=chat, user__in=authors).exists():
        yield _("Both have a draft of the same operator. The two texts are combined.")
    if HelpdeskChat.objects.filter(conversation__in=[chat, into], chat_id__isnull=False).count() > 1:
        yield _("Both have a chat in the external helpdesk. New messages continue in the remaining one.")


def _find_open_windows(chat: Conversation, *, now: Any) -> list[int]:
    return list(ServiceWindow.objects.filter(conversation=chat, expires_at__gt=now).values_list("pk", flat=True))


def suggest_matches(contact: Contact, *, visible_chats: Any) -> list[Contact]:
    """Return up to ten contacts that look like the same person. ``visible_chats``: chats that the user may see.

    They share a phone number in any spelling, an email or an ID, or one of them moved to the other.
    """
    query = Q(moved_to=contact.pk)
    if contact.moved_to_id:
        query |= Q(pk=contact.moved_to_id)
    if keys := {contact.phone_key, contact.address_key} - {""}:
        query |= Q(phone_key__in=keys) | Q(address_key__in=keys)
    if contact.email:
        query |= Q(pk__in=Contact.objects.with_email(contact.email).values("pk"))
    for name in ("external_id", "user_id"):
        if value := getattr(contact, name):
            query |= Q(**{name: value})
    rows = Contact.objects.filter(query, erased_at=None, merged_into=None).exclude(pk=contact.pk)
    return list(rows.filter(pk__in=visible_chats.values("contact")).select_related("api_channel").order_by("pk")[:10])
