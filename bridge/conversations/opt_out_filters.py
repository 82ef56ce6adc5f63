"""Filters of contacts by the opt-out in force: the broadest one among merged contacts."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q, QuerySet

from bridge.models import Contact, OptOut

from . import merge_lookup

# Conditions on ``bridge_contact p``, a contact that was not merged into another one.
OPTED_OUT_SQL = """(EXISTS (SELECT FROM bridge_contactconsent k WHERE k.contact_id = p.id AND k.opt_out {test})
    OR p.has_merged AND EXISTS (SELECT FROM bridge_contact m JOIN bridge_contactconsent k ON k.contact_id = m.id
        WHERE m.merged_into_id = p.id AND k.opt_out {test}))"""
_ANY, _ALL, _MARKETING = (OPTED_OUT_SQL.format(test=test) for test in ("<> ''", "= 'all'", "= 'marketing'"))
CONDITIONS = {
    "any": _ANY,
    "none": f"NOT {_ANY}",
    OptOut.ALL.value: _ALL,
    OptOut.MARKETING.value: f"{_MARKETING} AND NOT {_ALL}",
}
# Where to look for opted-out contacts: both conditions are partial indexes.
SOURCES = (
    "bridge_contact p JOIN bridge_contactconsent o ON o.contact_id = p.id AND o.opt_out <> ''",
    "bridge_contact p JOIN (SELECT DISTINCT m.merged_into_id AS id FROM bridge_contact m"
    " JOIN bridge_contactconsent o ON o.contact_id = m.id AND o.opt_out <> ''"
    " WHERE m.merged_into_id IS NOT NULL) x ON x.id = p.id",
)


def filter_opted_out(rows: QuerySet[Contact], values: Collection[str], channels: Collection[int]) -> QuerySet[Contact]:
    """Return the contacts with one of these opt-outs in force. ``channels``: the chat channels that the user sees.

    Merged contacts count as far as the user may know them.
    """
    found = Q()
    for value in values:
        condition = _has_opt_out(value, channels)
        if value == OptOut.MARKETING:
            condition &= ~_has_opt_out(OptOut.ALL, channels)
        found |= condition
    return rows.filter(found)


def _has_opt_out(value: str, channels: Collection[int]) -> Q:
    merged = Contact.objects.filter(merged_into__isnull=False, consent__opt_out=value)
    visible = merge_lookup.filter_visible_people(merged, channels)
    return Q(consent__opt_out=value) | Q(pk__in=visible.values("merged_into"))
