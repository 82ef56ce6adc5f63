"""Merge one contact into another.

The source contact keeps its IDs and points at the target (``Contact.merged_into``), which owns the chats from now on.
Messages from either number arrive in the target's chats; replies go to the number that wrote last. In each chat
channel, the rows of the source's conversation move to the target's conversation, and the empty one is deleted.
``MergedConversation`` maps its ID to the remaining conversation and stores the data for the undo.

Lock order: contacts, conversations, windows, requests, deliveries, messages.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import contact_fields, tickets

from ..models import (
    ACTIVE_STATUSES,
    ChatPin,
    Contact,
    ContactMerge,
    Conversation,
    Delivery,
    Draft,
    HelpdeskChat,
    MergedConversation,
    Message,
    Snooze,
    Ticket,
)
from . import rows, rules

# Fields that chat lists show, and who answers: combined by a merge, restored by its undo.
SHOWN_FIELDS = (
    *("assignee_id", "team_id", "request_status", "last_message_at", "last_text", "last_direction", "waiting_since"),
    *("unread", "unread_marked_at"),
)


@transaction.atomic
def merge_contacts(source_id: int, target_id: int, *, by: Any) -> ContactMerge:
    """Merge contact ``source`` into ``target``. Raises rules.MergeRefused."""
    contacts = lock_contacts(source_id, target_id)
    source, target = contacts[source_id], contacts[target_id]
    if problem := rules.find_merge_problem(source, target):
        raise rules.MergeRefused(problem)
    chats = lock_conversations(rules.find_chats(source, target).values_list("pk", flat=True))
    now = service_window.database_now()
    preview = rules.preview_merge(source, target)
    merge = ContactMerge.objects.create(
        source=source,
        target=target,
        by=by,
        at=now,
        counts=_count_parts(preview),
        before=_snapshot_contacts(source, target),
    )
    own = {chat.chat_channel_id: chat for chat in chats if chat.contact_id == target.pk}
    for chat in chats:
        if chat.contact_id == source.pk:
            _merge_conversation(merge, chat, own.get(chat.chat_channel_id), source=source, target=target, now=now)
    merged_ids = list(Contact.objects.filter(merged_into=source.pk).values_list("pk", flat=True))
    merge.before |= {"followers": merged_ids}
    Contact.objects.filter(pk__in=[source.pk, *merged_ids]).update(merged_into=target)
    Contact.objects.filter(pk=source.pk).update(has_merged=False)
    changed = rules.choose_fields(source, target) | {
        "tags": [*target.tags, *preview.tags],
        "card": contact_fields.merge_cards(target.card, source.card),
    }
    Contact.objects.filter(pk=target.pk).update(has_merged=True, **changed)
    merge.before |= {"after": changed}
    merge.save(update_fields=["before"])
    return merge


def lock_contacts(*pks: int) -> dict[int, Contact]:
    """Lock contacts in ID order, before their conversations. Raises rules.MergeRefused if one is missing."""
    rows_of = Contact.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
    found = {contact.pk: contact for contact in rows_of}
    if len(found) < len(set(pks)):
        raise rules.MergeRefused(_("Not found, or you do not have access."))
    return found


def lock_conversations(pks: Collection[int]) -> list[Conversation]:
    """Lock conversations. Raises rules.MergeRefused if one of their messages is being sent."""
    chats = list(Conversation.objects.select_for_update().filter(pk__in=list(pks)).order_by("pk"))
    waiting = Delivery.objects.select_for_update(no_key=True).filter(
        conversation__in=chats, state__in=Delivery.UNFINISHED
    )
    if any(state == Delivery.State.SENDING for state in waiting.order_by("pk").values_list("state", flat=True)):
        raise rules.MergeRefused(_("A message to this client is being sent. Try again in a few seconds."))
    return chats


def _count_parts(preview: rules.MergePreview) -> dict[str, int]:
    counts = {"chats": len(preview.chats), "notes": preview.notes}
    for name in ("messages", "requests", "windows", "deliveries", "held", "drafts"):
        counts[name] = sum(getattr(part, name) for part in preview.chats)
    return counts


def _snapshot_contacts(source: Contact, target: Contact) -> dict[str, Any]:
    return {
        "target": {name: getattr(target, name) for name in ("name", "name_source", "email", "tags", "card")},
        "source_had_merged": source.has_merged,
    }


def _merge_conversation(
    merge: ContactMerge,
    old: Conversation,
    into: Conversation | None,
    *,
    source: Contact,
    target: Contact,
    now: datetime,
) -> None:
    """Move all rows of a conversation to the target contact's conversation, and delete it."""
    before: dict[str, Any] = {"made": into is None}
    if into is None:
        into = Conversation.objects.create(
            contact=target, api_channel=old.api_channel, chat_channel=old.chat_channel, last_message_at=now
        )
        Conversation.objects.filter(pk=into.pk).update(created_at=old.created_at)
        into.last_message_at = old.last_message_at
    before["into"] = {name: rows.row_to_json(into)[name] for name in SHOWN_FIELDS}
    row = rows.row_to_json(old) | {"snoozed_until": None}
    before["requests"] = _end_one_request(old, into, by=merge.by)
    before["parallel"] = _mark_parallel_requests(old, into)
    service_window.close_windows(old.pk, now=now)
    before["drafts"] = _merge_drafts(old, into)
    _merge_pins(old, into)
    Snooze.objects.filter(conversation__in=[old, into]).delete()  # somebody should look at the merged chat
    Conversation.objects.filter(pk=into.pk).update(snoozed_until=None)
    helpdesk, alias = _merge_helpdesk_chat(old, into)
    before["helpdesk"] = helpdesk
    moved = rows.move_rows(old.pk, into.pk, contact_id=source.pk)
    service_window.open_latest_window(into.pk, now=now)
    rows.copy_form_keys(old.pk, into.pk)
    before["assignees"] = _merge_shown_fields(into, old)
    before["after"] = {name: rows.row_to_json(into)[name] for name in SHOWN_FIELDS}
    Conversation.objects.filter(pk=old.pk).delete()
    MergedConversation.objects.create(
        merge=merge, old_id=row["id"], conversation=into, row=row, rows=moved, before=before, helpdesk_chat_id=alias
    )


def _end_one_request(old: Conversation, into: Conversation, *, by: Any) -> list[dict[str, Any]]:
    """Keep one open request: the one that is new or open. Mark the other one as merged."""
    live = {chat.pk: tickets.get_current_ticket(chat) for chat in (old, into)}
    mine, theirs = live[into.pk], live[old.pk]
    if mine is None or theirs is None:
        return []
    ends = mine if theirs.status in ACTIVE_STATUSES and mine.status not in ACTIVE_STATUSES else theirs
    stored = rows.row_to_json(ends)
    tickets.set_ticket_status(ends.pk, status=Ticket.Status.MERGED, by=getattr(by, "pk", None))
    return [{name: stored[name] for name in ("id", "conversation_id", "status", "closed_at")}]


def _mark_parallel_requests(old: Conversation, into: Conversation) -> list[int]:
    """Keep further open requests of both chats as parallel. Return the IDs of those marked now."""
    live = Ticket.objects.filter(parallel=False).exclude(status__in=Ticket.ENDED)
    if not live.filter(conversation=into).exists():
        return []
    changed = list(live.filter(conversation=old).values_list("pk", flat=True))
    Ticket.objects.filter(pk__in=changed).update(parallel=True)
    return changed


def _merge_drafts(old: Conversation, into: Conversation) -> list[dict[str, Any]]:
    """Combine an operator's drafts in both conversations into one text."""
    stored = []
    own = {draft.user_id: draft for draft in Draft.objects.select_for_update().filter(conversation=into)}
    for draft in Draft.objects.select_for_update().filter(conversation=old).order_by("pk"):
        kept = own.get(draft.user_id)
        entry: dict[str, Any] = {"draft": rows.row_to_json(draft)}
        if kept is None:
            Draft.objects.filter(pk=draft.pk).update(conversation=into)
        else:
            joined = f"{kept.text}\n\n{draft.text}"
            entry |= {"kept": rows.row_to_json(kept), "joined": joined}
            draft.delete()
            Draft.objects.filter(pk=kept.pk).update(text=joined, reason="", details={})
        stored.append(entry)
    return stored


def _merge_pins(old: Conversation, into: Conversation) -> None:
    """Pin the remaining chat for everybody who has pinned either one. An undo leaves the pin where it is."""
    both = ChatPin.objects.filter(conversation=into).values("user")
    ChatPin.objects.filter(conversation=old).exclude(user__in=both).update(conversation=into)
    ChatPin.objects.filter(conversation=old).delete()


def _merge_helpdesk_chat(old: Conversation, into: Conversation) -> tuple[dict[str, Any], int | None]:
    """Keep one chat in the external helpdesk: that of the remaining conversation, else the other one.

    Return the stored row of the other chat for the undo, and its chat ID. Replies to that chat still arrive.
    """
    link = HelpdeskChat.objects.filter(conversation=old).first()
    if link is None:
        return {}, None
    stored = rows.row_to_json(link)
    if HelpdeskChat.objects.filter(conversation=into).exists():
        link.delete()
        return {"link": stored}, link.chat_id
    HelpdeskChat.objects.filter(conversation=old).update(conversation=into)
    return {"moved": stored}, None


def _merge_shown_fields(into: Conversation, old: Conversation) -> list[list[Any]]:
    """Combine the fields that chat lists show. Return reassigned requests: [ID, old assignee, new assignee]."""
    changed: list[list[Any]] = []
    if old.last_message_at > into.last_message_at or not into.last_direction:
        into.last_message_at = old.last_message_at
        into.last_text, into.last_direction, into.waiting_since = old.last_text, old.last_direction, old.waiting_since
    into.unread += old.unread
    into.unread_marked_at = into.unread_marked_at or old.unread_marked_at
    into.assignee_id = into.assignee_id or old.assignee_id
    live = tickets.get_current_ticket(into)
    into.team_id = (into.team_id or old.team_id) if live is None else live.team_id
    if live is not None:
        into.request_status = live.status
        if live.assignee_id != into.assignee_id:
            changed.append([live.pk, live.assignee_id, into.assignee_id])
            Ticket.objects.filter(pk=live.pk).update(assignee=into.assignee_id)
    elif into.request_status is None:
        into.request_status = old.request_status
    into.save(update_fields=[name.removesuffix("_id") for name in SHOWN_FIELDS])
    return changed


def find_newest_message(chat: Conversation) -> Message | None:
    """Return the newest message of the client, an operator or a program. Automatic replies answer nothing."""
    messages = Message.objects.filter(conversation=chat).exclude(direction=Message.Direction.NOTICE)
    messages = messages.exclude(details__has_key="automatic")
    return messages.order_by("-pk").first()
