"""Timeline of a template for operators: one sentence and one color per event of ``history``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import history
from .matching.text_diff import ADDED, REMOVED, DiffPiece
from .models import Status, Template, TemplateEvent

MAX_QUOTE_LENGTH = 80

OK, WARNING, CRITICAL, NEUTRAL = "ok", "warning", "critical", ""
LEVELS = {
    Status.APPROVED: OK,
    Status.PENDING: WARNING,
    Status.IN_APPEAL: WARNING,
    Status.REJECTED: CRITICAL,
    Status.PAUSED: CRITICAL,
    Status.DISABLED: CRITICAL,
    Status.LIMIT_EXCEEDED: CRITICAL,
}
QUALITY_LEVELS = {"GREEN": OK, "YELLOW": WARNING, "RED": CRITICAL}


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    at: datetime
    level: str  # name of a color: ok, warning, critical, or empty
    text: str
    author: str


def status_level(status: str) -> str:
    """Return the color of a status: ok, warning, critical, or an empty string."""
    return LEVELS.get(Status(status), NEUTRAL) if status in Status.values else NEUTRAL


def template_timeline(template: Template) -> list[TimelineEntry]:
    """Return the latest entries, newest first."""
    sent_at: datetime | None = None
    found = []
    for entry in reversed(history.template_history(template)):
        event = entry.event
        if event.kind == "status" and event.to_status == Status.PENDING:
            sent_at = event.at
        text = _event_text(entry, sent_at=sent_at)
        found.append(TimelineEntry(at=event.at, level=_event_level(event), text=text, author=_author_name(event)))
    return found[::-1]


def _event_text(entry: history.HistoryEntry, *, sent_at: datetime | None) -> str:
    event = entry.event
    if event.kind == "text":
        change = _describe_text_change(entry.text) or _("changed wording")
        return _("New text: %(change)s. If an operator pastes the previous text, the new one is offered.") % {
            "change": change
        }
    if event.kind != "status":
        return entry.sentence
    text = entry.sentence
    if event.from_status and event.to_status == Status.PENDING:
        text = _("Sent for approval")
    elif event.from_status and event.to_status == Status.APPROVED and sent_at is not None:
        text = _("Approved (after %(span)s)") % {"span": format_span(event.at - sent_at)}
    return f"{text}: {event.reason}" if event.reason.strip() else text


def _describe_text_change(pieces: Sequence[DiffPiece]) -> str:
    """Describe the first difference, such as: “собран” replaced by “готов”."""
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        if piece.kind == REMOVED and following is not None and following.kind == ADDED:
            return _("“%(removed)s” replaced by “%(added)s”") % {
                "added": _quote(following.text),
                "removed": _quote(piece.text),
            }
        if piece.kind == REMOVED:
            return _("“%(removed)s” removed") % {"removed": _quote(piece.text)}
        if piece.kind == ADDED:
            return _("“%(added)s” added") % {"added": _quote(piece.text)}
    return ""


def _quote(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTE_LENGTH else text[: MAX_QUOTE_LENGTH - 1] + "…"


def _event_level(event: TemplateEvent) -> str:
    if event.kind == "status":
        return status_level(event.to_status)
    return QUALITY_LEVELS.get(event.reason.rsplit(" ", 1)[-1], NEUTRAL) if event.kind == "quality" else WARNING


def _author_name(event: TemplateEvent) -> str:
    if event.author is not None:
        return event.author.get_full_name() or event.author.get_username()
    return "" if event.source == TemplateEvent.Source.MANUAL else event.get_source_display()


def format_span(span: timedelta) -> str:
    """Return a duration in its two largest units, such as "1 day 4 hours"."""
    minutes = max(int(span.total_seconds()) // 60, 0)
    return " ".join(_span_parts(minutes // 1440, minutes // 60 % 24, minutes % 60))


def _span_parts(days: int, hours: int, minutes: int) -> Iterator[str]:
    if days:
        yield ngettext("%(count)d day", "%(count)d days", days) % {"count": days}
    if hours:
        yield ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours}
    if not days and (minutes or not hours):
        yield ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}
