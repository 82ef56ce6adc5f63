"""Items of a page of a thread: messages with day separators, request marks, activity lines, and folded requests."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import groupby

from django.utils import timezone
from django.utils.translation import gettext as _

from bridge.desk import presentation
from bridge.models import Ticket

from .activity_lines import SHOWN_LINES, ActivityLine
from .chat_note_view import NoteView
from .message_view import HeldReplyView, MessageView


@dataclass(frozen=True, kw_only=True)
class ThreadItem:
    """One item of the thread: a day, a mark between requests, a fold, activity lines, a note, or a message."""

    key: str  # stable across updates
    version: str = ""  # the item is redrawn when it changes
    words: str = ""  # of a day, a mark or a fold
    date: date | None = None  # of a day
    message: MessageView | None = None
    held: HeldReplyView | None = None
    lines: tuple[ActivityLine, ...] = ()  # consecutive activity lines
    note: NoteView | None = None
    fold: Ticket | None = None  # this item expands or collapses an earlier request
    request_id: int | None = None  # the earlier request whose fold contains this item
    is_folded: bool = False
    follows: bool = False  # the message above is by the same author and of the same minute
    is_followed: bool = False  # the message below shows time and status for both

    @property
    def is_day(self) -> bool:
        return self.key.startswith("day")

    @property
    def folded_lines(self) -> tuple[ActivityLine, ...]:
        """Return the lines of a long run that are folded; the last one is always shown."""
        return self.lines[:-1] if len(self.lines) > SHOWN_LINES else ()

    @property
    def open_lines(self) -> tuple[ActivityLine, ...]:
        return self.lines[len(self.folded_lines) :]


@dataclass(kw_only=True)
class ThreadBuilder:
    """Builder of thread items from messages. Closed requests are folded, except the newest one."""

    tickets: Sequence[Ticket]
    unfolded: set[int | None]
    now: datetime
    current: int | None = None  # the request of the previous item
    day: date | None = None
    by_id: dict[int, Ticket] = field(init=False)
    keys: set[str] = field(default_factory=set)
    reported: set[tuple[int | None, int | None]] = field(default_factory=set)  # statuses that activity lines say

    def __post_init__(self) -> None:
        self.by_id = {ticket.pk: ticket for ticket in self.tickets}

    def build_items(
        self, views: Sequence[MessageView], *, lines: Sequence[ActivityLine], notes: Sequence[NoteView], is_newest: bool
    ) -> Iterator[ThreadItem]:
        """Yield the items of a page: messages with the lines and notes of the time between them."""
        self.reported = {(line.ticket_id, line.status) for line in lines if line.status is not None}
        inserts: list[ActivityLine | NoteView] = [*lines, *notes]
        waiting = deque(sorted(inserts, key=lambda one: one.moment))
        for view in views:
            run: list[ActivityLine | NoteView] = []
            while waiting and waiting[0].moment <= view.message.created_at:
                run.append(waiting.popleft())
            yield from self._between(run)
            for item in self._before(view):
                yield self._with_own_key(item, str(view.message.pk))
            folds = self._folds(self.current)
            yield ThreadItem(
                key=f"m{view.message.pk}",
                version=view.version,
                message=view,
                request_id=self.current if folds else None,
                is_folded=folds and self.current not in self.unfolded,
            )
        yield from self._between(list(waiting))
        if is_newest and self.current is not None:
            yield from self._ended()

    def _between(self, inserts: Sequence[ActivityLine | NoteView]) -> Iterator[ThreadItem]:
        """Yield notes, and activity lines: consecutive ones of one request and day in one item."""
        for (day, request_id, note_id), group in groupby(inserts, key=self._place):
            run = list(group)
            key = f"n{note_id}" if note_id else f"a{run[0].pk}"
            if day != self.day:
                yield self._with_own_key(self._day(run[0].moment, request_id=request_id), key)
            lines = tuple(one for one in run if isinstance(one, ActivityLine))
            yield ThreadItem(
                key=key,
                version=f"{zlib.crc32(repr(run).encode()):x}",
                lines=lines,
                note=next((one for one in run if isinstance(one, NoteView)), None),
                request_id=request_id,
                is_folded=request_id is not None and request_id not in self.unfolded,
            )

    def _place(self, insert: ActivityLine | NoteView) -> tuple[date, int | None, int | None]:
        """Return the day of a line or note, the folded request that contains it, and the ID of a note."""
        within = insert.ticket_id in (None, self.current) and self._folds(self.current)
        note_id = insert.pk if isinstance(insert, NoteView) else None
        return timezone.localtime(insert.moment).date(), self.current if within else None, note_id

    def _day(self, moment: datetime, *, request_id: int | None, suffix: str = "") -> ThreadItem:
        """Return the separator of a new day."""
        self.day = timezone.localtime(moment).date()
        words = presentation.format_day(moment, now=self.now)
        key = f"day-{self.day.isoformat()}{suffix}"
        return ThreadItem(
            key=key,
            version=words,
            words=words,
            date=self.day,
            request_id=request_id,
            is_folded=request_id is not None and request_id not in self.unfolded,
        )

    def _with_own_key(self, item: ThreadItem, suffix: str) -> ThreadItem:
        """Make the key unique: messages of two live requests may alternate, so a mark can occur more than once."""
        if item.key in self.keys:
            item = replace(item, key=f"{item.key}-{suffix}")
        self.keys.add(item.key)
        return item

    def _before(self, view: MessageView) -> Iterator[ThreadItem]:
        """Yield the marks before a message: end of a request, start of the next, new day."""
        message = view.message
        is_next = message.ticket_id is not None and message.ticket_id != self.current
        previous = self.current
        if is_next and previous is not None:
            yield from self._ended()
        if is_next:
            self.current = message.ticket_id
            if self._folds(self.current):
                yield self._fold(self.by_id[message.ticket_id or 0])
                self.day = None
            elif self._folds(previous):
                self.day = None  # the day separator may be inside the fold
        if view.stored_at.date() != self.day:
            within = self.current if self._folds(self.current) else None
            suffix = f"-{self.current}" if within or self._folds(previous) else ""
            yield self._day(message.created_at, request_id=within, suffix=suffix)
        if is_next and previous is not None and not self._folds(self.current):
            words = _("Request № %(number)d") % {"number": message.ticket_id}
            yield ThreadItem(key=f"start-{message.ticket_id}", words=words)

    def _folds(self, ticket_id: int | None) -> bool:
        """Return whether a request can be folded: closed, and not the newest."""
        ticket = self.by_id.get(ticket_id or 0)
        return ticket is not None and ticket.status in Ticket.ENDED and ticket.pk != self.tickets[0].pk

    def _fold(self, ticket: Ticket) -> ThreadItem:
        return ThreadItem(
            key=f"fold-{ticket.pk}",
            version=f"{ticket.status} {ticket.subject}",
            words=presentation.format_day(ticket.opened_at, now=self.now),
            fold=ticket,
            is_folded=ticket.pk not in self.unfolded,
        )

    def _ended(self) -> Iterator[ThreadItem]:
        """Yield the mark where a request was closed or solved."""
        ticket = self.by_id.get(self.current or 0)
        if ticket is None or (ticket.status not in Ticket.ENDED and ticket.status != Ticket.Status.SOLVED):
            return
        if (ticket.pk, ticket.status) in self.reported:  # by an activity line
            return
        words = _("Request № %(number)d: %(status)s") % {
            "number": ticket.pk,
            "status": ticket.status_label,
        }
        if ticket.closed_at:
            words += f" · {presentation.format_moment(ticket.closed_at, now=self.now)}"
        folds = self._folds(ticket.pk)
        yield ThreadItem(
            key=f"ended-{ticket.pk}",
            version=f"{ticket.status} {ticket.closed_at}",
            words=words,
            request_id=ticket.pk if folds else None,
            is_folded=folds and ticket.pk not in self.unfolded,
        )
