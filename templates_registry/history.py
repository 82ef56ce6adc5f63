"""What happened to a template, for its page: events with who and why, and each change of text word by word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from .content.graph_format import InvalidTemplate
from .matching.text_diff import DiffPiece, diff_texts, template_text
from .models import Category, Quality, Status, Template, TemplateEvent, TemplateVersion

SHOWN = 40
MOVES = ("category", "category_soon")  # the ``what`` of events that change a price
PROVIDERS = (TemplateEvent.Source.PROVIDER, TemplateEvent.Source.SYNC)


@dataclass(frozen=True)
class Happening:
    event: TemplateEvent
    sentence: str
    version: TemplateVersion | None = None
    text: tuple[DiffPiece, ...] = ()


def of(template: Template) -> list[Happening]:
    """The newest first."""
    events = list(template.events.select_related("author")[: SHOWN + 1])
    versions = list(template.versions.select_related("template")[: SHOWN + 1])
    # Both are written together: the newest event of a text belongs to the newest version, and so on.
    newer = iter(range(len(versions)))
    found = []
    for event in events[:SHOWN]:
        version: TemplateVersion | None = None
        text: tuple[DiffPiece, ...] = ()
        if event.what == "text" and (at := next(newer, None)) is not None:
            version = versions[at]
            text = _between(versions[at + 1] if at + 1 < len(versions) else None, version)
        found.append(Happening(event, _sentence(event), version, text))
    return found


def moved(events: Iterable[TemplateEvent]) -> dict[Template, str]:
    """Templates that the provider has moved to another category, or will: what it says last of each, the newest first.

    Not those that the admins have moved back or deleted since.
    """
    last: dict[Template, TemplateEvent] = {}
    for event in sorted(events, key=lambda event: -event.pk):
        last.setdefault(event.template, event)
    return {
        template: _moved(event)
        for template, event in last.items()
        if event.source in PROVIDERS and template.status != Status.DELETED
    }


def _moved(event: TemplateEvent) -> str:
    told = {"template": event.template, "change": _in_words(event.reason, Category)}
    if event.what == "category":
        return _("The provider has put “%(template)s” in another category, which changes its price: %(change)s.") % told
    return _("The provider will put “%(template)s” in another category, which changes its price: %(change)s.") % told


def _between(old: TemplateVersion | None, new: TemplateVersion) -> tuple[DiffPiece, ...]:
    return diff_texts(_text(old), _text(new)) if old else ()


def _text(version: TemplateVersion) -> str:
    try:
        return template_text(version.pattern)
    except InvalidTemplate:
        return ""


def _sentence(event: TemplateEvent) -> str:
    if event.what == "text":
        return _("New text")
    if event.what == TemplateEvent.EDITED:
        return _("The provider was given the new text for the one that it had approved")
    if event.what == "category":
        return _("Category: %(change)s. The price of a message goes by the category, so it changes too.") % {
            "change": _in_words(event.reason, Category)
        }
    if event.what == "category_soon":
        return _("The provider will change the category, and with it the price: %(change)s") % {
            "change": _in_words(event.reason, Category)
        }
    if event.what == "quality":
        return _("Quality: %(change)s") % {"change": _in_words(event.reason, Quality)}
    status = str(Status(event.to_status).label)
    if not event.from_status:
        return _("Came into the registry: %(status)s") % {"status": status}
    return status[:1].upper() + status[1:]


def _in_words(change: str, kind: Any) -> str:
    words = (word.split(" ", 1) for word in change.split(" → "))
    return " → ".join(
        " ".join([str(kind(word).label) if word in kind.values else word, *more]) for word, *more in words
    )
