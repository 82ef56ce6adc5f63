"""Request properties that programs may set: subject, additional ID, priority, type, tags, additional fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from channels_setup.codecs.bodies import BadBody

from .models import Ticket, TicketField, TicketTag

SIMPLE = ("subject", "additional_id", "priority", "type")
COLUMNS = (*SIMPLE, "tags", "custom_fields")
LONGEST_TAG, MOST_TAGS = 255, 100


def apply_properties(ticket: Ticket, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Set the wanted values on the unsaved object. Return the changes in the format of events.

    ``wanted`` holds column names, and ``add_tags`` (added to the tags) and ``fields`` (additional fields by ID; an
    empty value clears a field).
    """
    changes = []
    for name in SIMPLE:
        before = getattr(ticket, name)
        if name in wanted and wanted[name] != before:
            setattr(ticket, name, wanted[name])
            changes.append({"target": name, "value": wanted[name], "old_value": before})
    return changes + _apply_tags(ticket, wanted) + _apply_fields(ticket, wanted.get("fields") or {})


def _apply_tags(ticket: Ticket, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    before = list(ticket.tags)
    after = merge_tags(wanted["tags"] if wanted.get("tags") is not None else before, wanted.get("add_tags") or [])
    added, removed = [tag for tag in after if tag not in before], [tag for tag in before if tag not in after]
    if not added and not removed:
        return []
    ticket.tags = after
    TicketTag.objects.bulk_create([TicketTag(name=tag) for tag in added], ignore_conflicts=True)
    changes = (("new_tags", added), ("removed_tags", removed))
    return [{"target": target, "value": ", ".join(tags), "old_value": None} for target, tags in changes if tags]


def merge_tags(first: Iterable[str], more: Iterable[str]) -> list[str]:
    """Return the tags in order without duplicates (case-insensitive). Raises BadBody if there are too many."""
    found: dict[str, str] = {}
    for tag in (*first, *more):
        found.setdefault(tag.casefold(), tag)
    if len(found) > MOST_TAGS:
        raise BadBody(_("A request has at most %(most)d tags.") % {"most": MOST_TAGS})
    return list(found.values())


def _apply_fields(ticket: Ticket, fields: Mapping[int, str]) -> list[dict[str, Any]]:
    after = dict(ticket.custom_fields)
    changes = []
    for number, value in fields.items():
        before = after.get(str(number))
        if (value or None) == before:
            continue
        if value:
            after[str(number)] = value
        else:
            after.pop(str(number), None)
        changes.append({"target": "ticket_field", "id": number, "value": value or None, "old_value": before})
    ticket.custom_fields = after
    return changes


def load_custom_fields(tickets: Sequence[Ticket]) -> dict[int, list[dict[str, Any]]]:
    """Return the additional fields of each request by request ID, in the format of responses and events."""
    numbers = {int(number) for ticket in tickets for number in ticket.custom_fields}
    names = dict(TicketField.objects.filter(pk__in=numbers).values_list("pk", "name")) if numbers else {}
    return {
        ticket.pk: [
            {"id": int(number), "ticket_field_id": int(number), "name": names[int(number)], "value": value}
            for number, value in sorted(ticket.custom_fields.items(), key=lambda item: int(item[0]))
            if int(number) in names
        ]
        for ticket in tickets
    }
