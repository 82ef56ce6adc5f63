"""``history`` as operators read it on the page of a template: one plain sentence an event, with a colour."""

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

GOOD, WAITING, BAD, PLAIN = "ok", "warning", "critical", ""
LEVELS = {
    Status.APPROVED: GOOD,
    Status.PENDING: WAITING,
    Status.IN_APPEAL: WAITING,
    Status.REJECTED: BAD,
    Status.PAUSED: BAD,
    Status.DISABLED: BAD,
    Status.LIMIT_EXCEEDED: BAD,
}
QUALITIES = {"GREEN": GOOD, "YELLOW": WAITING, "RED": BAD}


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    at: datetime
    level: str  # the colour's name
    words: str
    who: str


def status_level(status: str) -> str:
    """The colour of a status: ok, warning, critical, or none."""
    return LEVELS.get(Status(status), PLAIN) if status in Status.values else PLAIN


def template_timeline(template: Template) -> list[TimelineEntry]:
    """The newest first."""
    sent: datetime | None = None
    found = []
    for one in reversed(history.template_history(template)):
        event = one.event
        if event.what == "status" and event.to_status == Status.PENDING:
            sent = event.at
        words = _event_text(one, sent=sent)
        found.append(TimelineEntry(at=event.at, level=_event_level(event), words=words, who=_author_name(event)))
    return found[::-1]


def _event_text(one: history.HistoryEntry, *, sent: datetime | None) -> str:
    event = one.event
    if event.what == "text":
        change = _describe_text_change(one.text) or _("changed wording")
        return _("New text: %(change)s. If an operator pastes the previous text, the new one is offered.") % {
            "change": change
        }
    if event.what != "status":
        return one.sentence
    words = one.sentence
    if event.from_status and event.to_status == Status.PENDING:
        words = _("Sent for approval")
    elif event.from_status and event.to_status == Status.APPROVED and sent is not None:
        words = _("Approved (after %(span)s)") % {"span": format_span(event.at - sent)}
    return f"{words}: {event.reason}" if event.reason.strip() else words


def _describe_text_change(pieces: Sequence[DiffPiece]) -> str:
    """«готов» in place of «собран»: the first words that changed."""
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        if piece.kind == REMOVED and following is not None and following.kind == ADDED:
            return _("“%(gone)s” replaced by “%(new)s”") % {"new": _quote(following.text), "gone": _quote(piece.text)}
        if piece.kind == REMOVED:
            return _("“%(gone)s” removed") % {"gone": _quote(piece.text)}
        if piece.kind == ADDED:
            return _("“%(new)s” added") % {"new": _quote(piece.text)}
    return ""


def _quote(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTE_LENGTH else text[: MAX_QUOTE_LENGTH - 1] + "…"


def _event_level(event: TemplateEvent) -> str:
    if event.what == "status":
        return status_level(event.to_status)
    return QUALITIES.get(event.reason.rsplit(" ", 1)[-1], PLAIN) if event.what == "quality" else WAITING


def _author_name(event: TemplateEvent) -> str:
    if event.author is not None:
        return event.author.get_full_name() or event.author.get_username()
    return "" if event.source == TemplateEvent.Source.MANUAL else event.get_source_display()


def format_span(span: timedelta) -> str:
    """``1 day 4 hours``; the two largest units."""
    minutes = max(int(span.total_seconds()) // 60, 0)
    return " ".join(_span_parts(minutes // 1440, minutes // 60 % 24, minutes % 60))


def _span_parts(days: int, hours: int, minutes: int) -> Iterator[str]:
    if days:
        yield ngettext("%(count)d day", "%(count)d days", days) % {"count": days}
    if hours:
        yield ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours}
    if not days and (minutes or not hours):
        yield ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}
