"""Merged clients: the list for the client pane, and the number that replies go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge import service_window
from bridge.desk import presentation
from bridge.merging import rules
from bridge.merging.undo import find_undo_problem
from bridge.models import Contact, ContactMerge, Conversation


@dataclass(frozen=True, kw_only=True)
class MergedClient:
    """A client that was merged into the client of this chat."""

    name: str
    number: str
    merge: int | None  # ID of the merge if it can still be undone
    who: str
    at: str


def list_merged_clients(people: Sequence[Contact], *, user: Any, now: datetime) -> list[MergedClient]:
    """List the merged clients among ``people``, which begins with the client of the chat."""
    contact, *merged = people
    if not merged:
        return []
    merges = ContactMerge.objects.filter(target=contact.pk, undone_at=None).select_related("by", "source", "target")
    merge_by_source = {merge.source_id: merge for merge in merges}
    clients = []
    for person in merged:
        merge = merge_by_source.get(person.pk)
        may_undo = merge is not None and user.has_perm(rules.MERGE_PERMISSION) and not find_undo_problem(merge, now=now)
        clients.append(
            MergedClient(
                name=presentation.contact_name(person),
                number=contact_number(person),
                merge=merge.pk if merge and may_undo else None,
                who=presentation.person_name(merge.by) if merge else "",
                at=presentation.format_moment(merge.at, now=now) if merge else "",
            )
        )
    return clients


def reply_number(conversation: Conversation) -> str:
    """Return the number that replies go to if clients were merged, else an empty string."""
    if not conversation.contact.has_merged:
        return ""
    addressee_id = service_window.get_addressee_id(conversation)
    contact = Contact.objects.get(pk=addressee_id) if addressee_id else conversation.contact
    return contact_number(contact) or presentation.contact_name(contact)


def contact_number(contact: Contact) -> str:
    return presentation.contact_number(contact, contact.external_id or contact.phone) or contact.user_id
