"""Undo a merge within 24 hours.

Moved rows move back by their recorded IDs. Messages since the merge go to the contact whose number sent or received
them, together with their related rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import tickets
from bridge.message_text import build_preview

from ..models import (
    Contact,
    ContactMerge,
    Conversation,
    Delivery,
    Draft,
    HelpdeskChat,
    MergedConversation,
    Message,
    Ticket,
    Upload,
)
from . import merge, rows, rules

UNDO_WITHIN = timedelta(hours=24)


def find_undo_problem(contact_merge: ContactMerge, *, now: datetime) -> str:
    """Return a sentence why the merge cannot be undone, or an empty string."""
    if contact_merge.undone_at:
        return _("This merge has already been undone.")
    if now - contact_merge.at > UNDO_WITHIN:
        return _("A merge can be undone within 24 hours. This one is older.")
    if contact_merge.source.erased_at or contact_merge.target.erased_at:
        return _("This person has been erased since the merge, so it cannot be undone.")
    if contact_merge.target.merged_into_id:
        return _("This client has since been merged into another one. Undo that merge first.")
    return ""


@transaction.atomic
def undo_merge(merge_id: int, *, by: Any) -> ContactMerge:
    """Separate two merged contacts. Raises rules.MergeRefused."""
    found = ContactMerge.objects.get(pk=merge_id)
    merge.lock_contacts(found.source_id, found.target_id)
    contact_merge = (
        ContactMerge.objects.select_for_update(of=("self",)).select_related("source", "target").get(pk=merge_id)
    )
    now = service_window.database_now()
    if problem := find_undo_problem(contact_merge, now=now):
        raise rules.MergeRefused(problem)
    people = [contact_merge.source_id, *contact_merge.before.get("followers", [])]
    merge.lock_conversations(rules.find_chats(contact_merge.target).values_list("pk", flat=True))
    for part in contact_merge.conversations.select_related("conversation").order_by("pk"):
        _restore_conversation(part, people=people, now=now)
    for chat in _find_chats_started_since(contact_merge.target, people):
        _split_chat(chat, contact_merge.source, people=people, now=now)
    _restore_contacts(contact_merge, people)
    contact_merge.undone_at, contact_merge.undone_by = now, by
    contact_merge.save(update_fields=["undone_at", "undone_by"])
    return contact_merge


def delete_old_undo_data() -> int:
    """Delete the undo data of merges older than UNDO_WITHIN. Return the number of conversations."""
    over = MergedConversation.objects.filter(merge__at__lt=service_window.database_now() - UNDO_WITHIN).exclude(row={})
    return over.update(row={}, rows={}, before={})


def _restore_conversation(part: MergedConversation, *, people: list[int], now: datetime) -> None:
    """Restore one conversation from the one into which it was merged."""
    into = part.conversation
    old: Conversation = rows.restore_row(Conversation, part.row)
    _move_back_rows(into, old, part.rows, people=people, now=now)
    _restore_requests(part.before["requests"])
    _restore_parallel(part.before.get("parallel", []))
    for pk, old_assignee, new_assignee in part.before["assignees"]:
        Ticket.objects.filter(pk=pk, assignee=new_assignee).update(assignee=old_assignee)
    ensure_requests(old, into)
    _restore_drafts(part.before["drafts"], old, into)
    _restore_helpdesk(part.before["helpdesk"], old, into)
    rows.copy_form_keys(into.pk, old.pk)
    _restore_shown_fields(part, old, into)
    part.delete()
    if part.before["made"] and _is_empty(into):
        Draft.objects.filter(conversation=into).update(conversation=old)
        HelpdeskChat.objects.filter(conversation=into).delete()
        into.delete()


def _find_chats_started_since(target: Contact, people: list[int]) -> QuerySet[Conversation]:
    """Return chats that the merged number started after the merge."""
    started = Message.objects.filter(conversation__contact=target, merged_contact__in=people).values("conversation")
    return Conversation.objects.filter(pk__in=started).order_by("pk")


def _split_chat(chat: Conversation, source: Contact, *, people: list[int], now: datetime) -> None:
    """Give the source contact its own chat with the messages of its number since the merge."""
    others = Message.objects.filter(conversation=chat).exclude(direction=Message.Direction.NOTICE)
    if not others.exclude(merged_contact__in=people).exists():
        Conversation.objects.filter(pk=chat.pk).update(contact=source)
        for model in rows.MERGED_CONTACT_MODELS:
            marked: Any = model._default_manager.filter(conversation=chat, merged_contact=source)
            marked.update(merged_contact=None)
        return
    own = Conversation.objects.create(
        contact=source,
        api_channel=chat.api_channel,
        chat_channel=chat.chat_channel,
        assignee_id=chat.assignee_id,
        team_id=chat.team_id,
    )
    unread = _find_unread_ids(chat)
    _move_back_rows(chat, own, {}, people=people, now=now)
    ensure_requests(own, chat)
    for one in (own, chat):
        _recount(one, unread=unread)


def _move_back_rows(
    into: Conversation, old: Conversation, moved: rows.RowIds, *, people: list[int], now: datetime
) -> None:
    service_window.close_windows(into.pk, now=now)
    rows.move_rows_back(into.pk, old.pk, moved, contact_ids=people)
    for chat in (old, into):
        service_window.open_latest_window(chat.pk, now=now)


# --- requests --------------------------------------------------------------------------------------------


def _restore_requests(stored: list[dict[str, Any]]) -> None:
    """Reopen requests that the merge ended, unless they changed since."""
    for stored_row in stored:
        ticket = Ticket.objects.select_related("conversation").filter(pk=stored_row["id"]).first()
        if ticket is None or ticket.status != Ticket.Status.MERGED:
            continue
        live = tickets.get_current_ticket(ticket.conversation)
        if live is not None and live.pk > ticket.pk:
            continue  # a newer request is open
        tickets.set_ticket_status(ticket.pk, status=stored_row["status"], allow_parallel=True)
        closed_at = parse_datetime(stored_row["closed_at"]) if stored_row["closed_at"] else None
        Ticket.objects.filter(pk=ticket.pk).update(closed_at=closed_at)


def _restore_parallel(stored: list[int]) -> None:
    """Unmark requests that the merge marked as parallel, unless another open request prevents it."""
    for ticket in Ticket.objects.filter(pk__in=stored, parallel=True):
        own = Ticket.objects.filter(conversation=ticket.conversation_id, parallel=False)
        if not own.exclude(status__in=Ticket.ENDED).exists():
            Ticket.objects.filter(pk=ticket.pk).update(parallel=False)


def ensure_requests(*chats: Conversation) -> None:
    """Put messages whose request belongs to another chat into their chat's open request, or into a new one."""
    for chat in chats:
        strays = Message.objects.filter(conversation=chat, ticket__isnull=False).exclude(ticket__conversation=chat)
        first = strays.order_by("pk").first()
        if first is None:
            continue
        ticket = tickets.get_current_ticket(chat) or Ticket.objects.create(
            conversation=chat,
            status=first.ticket.status if first.ticket else Ticket.Status.OPEN,
            assignee_id=chat.assignee_id,
            team_id=chat.team_id,
            subject=first.text.split("\n")[0][:80],
            first_text=first.text,
        )
        strays.update(ticket=ticket)


# --- drafts and the helpdesk's chat ----------------------------------------------------------------------


def _restore_drafts(stored: list[dict[str, Any]], old: Conversation, into: Conversation) -> None:
    """Split combined drafts again, unless they changed since the merge."""
    for entry in stored:
        stored_row = entry["draft"]
        draft = Draft.objects.filter(conversation=into, user=stored_row["user_id"]).first()
        expected = entry.get("joined", stored_row["text"])
        if draft is None or draft.text != expected:
            continue
        if "kept" not in entry:
            Draft.objects.filter(pk=draft.pk).update(conversation=old)
            continue
        kept = rows.json_to_row(Draft, entry["kept"])
        Draft.objects.filter(pk=draft.pk).update(**{name: kept[name] for name in kept if name != "id"})
        rows.restore_row(Draft, stored_row)


def _restore_helpdesk(stored: dict[str, Any], old: Conversation, into: Conversation) -> None:
    if "link" in stored:
        rows.restore_row(HelpdeskChat, stored["link"])
    elif "moved" in stored:
        HelpdeskChat.objects.filter(conversation=into, chat_id=stored["moved"]["chat_id"]).update(conversation=old)


# --- fields of chat lists --------------------------------------------------------------------------------


def _restore_shown_fields(part: MergedConversation, old: Conversation, into: Conversation) -> None:
    """Restore the fields that chat lists show; recompute them if the chat changed since the merge."""
    into.refresh_from_db()
    shown = rows.row_to_json(into)
    after = {name: shown[name] for name in part.before["after"]}  # the release that merged them may not know them all
    live = {chat.pk: tickets.get_current_ticket(chat) for chat in (old, into)}
    if after | {"request_status": None} == part.before["after"] | {"request_status": None}:
        stored_row = rows.json_to_row(Conversation, part.before["into"])
        Conversation.objects.filter(pk=into.pk).update(**stored_row)
        return
    unread = _find_unread_ids(into, and_moved_to=old)
    for chat in (old, into):
        _recount(chat, unread=unread, live=live[chat.pk])


def _find_unread_ids(chat: Conversation, *, and_moved_to: Conversation | None = None) -> list[int]:
    """Return the IDs of unread messages: the newest ``chat.unread`` inbound ones."""
    chats = [chat, and_moved_to] if and_moved_to else [chat]
    inbound = Message.objects.filter(conversation__in=chats, direction=Message.Direction.INBOUND)
    return list(inbound.order_by("-pk").values_list("pk", flat=True)[: max(chat.unread, 0)])


def _recount(chat: Conversation, *, unread: list[int], live: Ticket | None = None) -> None:
    changed: dict[str, Any] = {
        "unread": Message.objects.filter(conversation=chat, pk__in=unread).count(),
    }
    if (newest := merge.find_newest_message(chat)) is not None:
        changed |= {
            "last_message_at": newest.created_at,
            "last_text": build_preview(newest.text, newest.shown)[:200],
            "last_direction": newest.direction,
            "waiting_since": None,
        }
    live = live or tickets.get_current_ticket(chat)
    last = live or Ticket.objects.filter(conversation=chat).order_by("-pk").first()
    changed["request_status"] = last.status if last else None
    Conversation.objects.filter(pk=chat.pk).update(**changed)


def _is_empty(chat: Conversation) -> bool:
    """Return whether a conversation that the merge created is empty."""
    tables: Any = (Message, Ticket, Delivery, Upload)
    return not any(model.objects.filter(conversation=chat).exists() for model in tables)


# --- contacts --------------------------------------------------------------------------------------------


def _restore_contacts(contact_merge: ContactMerge, people: list[int]) -> None:
    """Restore name, email and tags, unless they changed since the merge."""
    followers = people[1:]
    Contact.objects.filter(pk=contact_merge.source_id).update(
        merged_into=None, has_merged=contact_merge.before.get("source_had_merged", bool(followers))
    )
    Contact.objects.filter(pk__in=followers).update(merged_into=contact_merge.source_id)
    target, after, before = contact_merge.target, contact_merge.before["after"], contact_merge.before["target"]
    changed: dict[str, Any] = {
        name: before[name] for name in before if getattr(target, name) == after[name] and before[name] != after[name]
    }
    changed["has_merged"] = Contact.objects.filter(merged_into=target.pk).exists()
    Contact.objects.filter(pk=target.pk).update(**changed)
