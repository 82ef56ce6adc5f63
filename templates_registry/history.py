"""History of a template for its admin page: events with author and reason, and text changes word by word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from .content.graph_format import InvalidTemplate
from .matching.text_diff import DiffPiece, diff_texts, template_text
from .models import Category, Quality, Status, Template, TemplateEvent, TemplateVersion

MAX_ENTRIES = 40
CATEGORY_EVENTS = ("category", "category_planned")  # kinds of events that change a price
PROVIDER_SOURCES = (TemplateEvent.Source.PROVIDER, TemplateEvent.Source.SYNC)


@dataclass(frozen=True)
class HistoryEntry:
    """An event with its sentence and, for a change of text, the version and its differences."""

    event: TemplateEvent
    sentence: str
    version: TemplateVersion | None = None
    text: tuple[DiffPiece, ...] = ()


def template_history(template: Template) -> list[HistoryEntry]:
    """Return the latest entries of a template's history, newest first."""
    events = list(template.events.select_related("author")[: MAX_ENTRIES + 1])
    versions = list(template.versions.select_related("template")[: MAX_ENTRIES + 1])
    # A text event and its version are written together, so the newest event belongs to the newest version, and so on.
    indexes = iter(range(len(versions)))
    found = []
    for event in events[:MAX_ENTRIES]:
        version: TemplateVersion | None = None
        text: tuple[DiffPiece, ...] = ()
        if event.kind == "text" and (index := next(indexes, None)) is not None:
            version = versions[index]
            text = _text_difference(versions[index + 1] if index + 1 < len(versions) else None, version)
        found.append(HistoryEntry(event, _event_sentence(event), version, text))
    return found


def category_moves(events: Iterable[TemplateEvent]) -> dict[Template, str]:
    """Return templates that the provider moves to another category, each with a sentence; newest first.

    Only the last event of a template counts, so a template that an admin moved back is left out. Deleted
    templates are left out, too.
    """
    last: dict[Template, TemplateEvent] = {}
    for event in sorted(events, key=lambda event: -event.pk):
        last.setdefault(event.template, event)
    return {
        template: _category_move_sentence(event)
        for template, event in last.items()
        if event.source in PROVIDER_SOURCES and template.status != Status.DELETED
    }


def _category_move_sentence(event: TemplateEvent) -> str:
    values = {"template": event.template, "change": _localize_change(event.reason, Category)}
    if event.kind == "category":
        return _("The provider moved “%(template)s” to another category: %(change)s. Its price changes, too.") % values
    return _("The provider will move “%(template)s” to another category: %(change)s. Its price changes, too.") % values


def _text_difference(old: TemplateVersion | None, new: TemplateVersion) -> tuple[DiffPiece, ...]:
    return diff_texts(_version_text(old), _version_text(new)) if old else ()


def _version_text(version: TemplateVersion) -> str:
    try:
        return template_text(version.definition)
    except InvalidTemplate:
        return ""


def _event_sentence(event: TemplateEvent) -> str:
    if event.kind == "text":
        return _("New text")
    if event.kind == TemplateEvent.EDITED:
        return _("New text submitted to replace the approved one")
    if event.kind == "category":
        return _("Category: %(change)s. The price depends on the category, so it changes, too.") % {
            "change": _localize_change(event.reason, Category)
        }
    if event.kind == "category_planned":
        return _("The provider will change the category: %(change)s. The price changes, too.") % {
            "change": _localize_change(event.reason, Category)
        }
    if event.kind == "quality":
        return _("Quality: %(change)s") % {"change": _localize_change(event.reason, Quality)}
    status = str(Status(event.to_status).label)
    if not event.from_status:
        return _("Added with status: %(status)s") % {"status": status}
    return status[:1].upper() + status[1:]


def _localize_change(change: str, kind: Any) -> str:
    """Translate the values of "UTILITY → MARKETING (2026-12-01 10:00)". ``kind`` is their class of choices."""
    parts = (part.split(" ", 1) for part in change.split(" → "))
    return " → ".join(
        " ".join([str(kind(value).label) if value in kind.values else value, *rest]) for value, *rest in parts
    )
