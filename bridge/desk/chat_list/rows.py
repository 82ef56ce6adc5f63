"""One row of the chat list and its HTML.

The HTML is a format string instead of a template: a list has forty rows, and rendering them with Django templates took
more CPU than all database queries together.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from bridge.desk import presentation
from bridge.desk.bulk.row_states import build_state
from bridge.desk.html import fast_format_html, render_icon
from bridge.message_text import render_preview
from bridge.models import ChangeAfterAnswer, Message

from .queries import LIVE_STATUSES, ChatRowData
from .search import NOTE, REQUEST, TAG, Hit
from .search_excerpts import excerpt_around

ROW = """
<li data-key="chat-{chat}" data-version="{version}">
<a class="row {level}{unread}{answered}" href="{href}" data-chat="{chat}" data-state="{state}"{traits}{current}>
  {ring}
  <div class="cut">
    <div class="line"><b class="cut">{name}</b>{pin}{ends}</div>
    <div class="line">{draft}<p class="cut words">{words}</p>{waits}{mark}</div>
  </div>
</a></li>"""
RING = (
    '<span class="ring {level}{hue}"{counts}><svg viewBox="0 0 40 40" aria-hidden="true">'
    '<circle cx="20" cy="20" r="18"/>'
    '<circle class="left" cx="20" cy="20" r="18" pathLength="100" stroke-dasharray="{percent} 100"/></svg>'
    '<i aria-hidden="true">{letters}</i></span>'
)
COUNTS = ' data-expires-at="{until}" data-format="ring"'
ENDS = (
    '<span class="ends {level}" data-expires-at="{until}" data-format="words">'
    '<span class="unseen">{title} </span><span data-words>{words}</span>{warned}</span>'
)
FACE = (
    '<span class="face mini" title="{name}"><span aria-hidden="true">{letters}</span>'
    '<span class="unseen">{name}</span></span>'
)
MAX_SHOWN = 99  # unread messages; more are shown as 99+
CURRENT = SafeString(' aria-current="page"')
FOUND_TEXT = '<span class="unseen">{title} </span>{words}'
DRAFT = '<p class="cut draft"><strong>{title}</strong> {words}</p>'
FOUND_IN = '<span class="faint">{title}</span> {words}'
OUR_TEXT = '<span class="faint">{title}</span> {words}'
LAST_MESSAGE_AT = '<span class="ends"{title}>{moment}{late}</span>'
TRAITS = ' data-traits="{words}"'
TITLE, UNSEEN = ' title="{words}"', '<span class="unseen"> {words}</span>'
CHANGED_TEXT = '<span class="changed">{words}</span>'
WARNED = '{icon}<span class="unseen"> {words}</span>'
SNOOZED = '<span class="waits">{words}</span>'
WAITS = (
    '<span class="waits" title="{title}" data-waiting-since="{since}">{waiting} <span data-words>{words}</span></span>'
)
PIN = '<span class="pinned" title="{words}">{icon}<span class="unseen">{words}</span></span>'
UNREAD = '<span class="badge" aria-label="{label}">{number}</span>'


@dataclass(frozen=True, kw_only=True)
class ChatRow:
    shown: ChatRowData
    window: presentation.WindowView
    snoozed: str = ""  # until when, in words
    waiting: str = ""  # time since the client's first unanswered message
    moment: str  # of the last message; empty if the time left is shown
    received: str = ""  # when a late message was received
    address: str
    is_current: bool
    is_mine: bool = False
    hit: Message | None = None  # search hit
    found: Hit | None = None  # why the search found the chat
    query: str = ""

    @cached_property
    def name(self) -> str:
        return presentation.contact_name(self.shown)

    @property
    def is_open(self) -> bool:
        return self.window.state == "open"

    @property
    def is_warned(self) -> bool:
        return self.is_open and self.shown.reminded_at is not None

    @property
    def version(self) -> str:
        """Return a text that changes when the row must be redrawn."""
        shown, window = self.shown, self.window
        parts = [build_state(shown), shown.unread, shown.assignee, shown.team, self.name, self.moment]
        parts += [
            shown.waiting_since,
            self.snoozed,
            shown.is_pinned,
            shown.request_status,
            self.is_warned,
            shown.change_after_answer,
            window.expires_at,
            window.level,
            self.is_current,
        ]
        parts += [zlib.crc32(shown.draft.encode())] if shown.draft else []
        return " ".join(map(str, parts))

    @property
    def html(self) -> SafeString:
        return fast_format_html(
            ROW,
            chat=self.shown.chat,
            version=self.version,
            level=self.window.level,
            unread=" unread" if self.shown.unread else "",
            answered="" if self.shown.waiting_since else " answered",
            href=self.address,
            state=build_state(self.shown),
            traits=self._traits,
            pin=self._pin,
            current=CURRENT if self.is_current else "",
            ring=self._ring,
            name=self.name,
            draft=self._draft,
            words=self._words,
            ends=self._ends,
            waits=self._waits,
            mark=self._mark,
        )

    @property
    def _traits(self) -> SafeString:
        """Render what the menu of the row depends on."""
        shown = self.shown
        traits = {
            "pinned": shown.is_pinned,
            "mine": self.is_mine,
            "live": shown.request_status in LIVE_STATUSES,
            "snoozed": shown.snoozed_until is not None,
            "erased": shown.erased_at is not None,
        }
        words = " ".join(name for name, value in traits.items() if value)
        return fast_format_html(TRAITS, words=words) if words else SafeString("")

    @property
    def _pin(self) -> SafeString | str:
        return fast_format_html(PIN, words=_("Pinned"), icon=render_icon("pin", "tiny")) if self.shown.is_pinned else ""

    @property
    def _ring(self) -> SafeString:
        """Render the window ring around the client's initials."""
        return fast_format_html(
            RING,
            level=self.window.level,
            counts=fast_format_html(COUNTS, until=self.window.iso) if self.is_open else "",
            percent=self.window.percent,
            hue=presentation.contact_hue(self.shown),
            letters=presentation.contact_initials(self.shown),
        )

    @property
    def _draft(self) -> SafeString:
        """Render the operator's unsent text. CSS shows it in place of the last message, unless the chat is open."""
        if not self.shown.draft or not self.shown.draft.strip() or self.hit or self.found:
            return SafeString("")
        return fast_format_html(DRAFT, title=_("Draft:"), words=render_preview(self.shown.draft))

    @property
    def _words(self) -> SafeString | str:
        """Render the last message, or the search hit."""
        if self.hit is not None:
            return fast_format_html(FOUND_TEXT, title=_("Found:"), words=excerpt_around(self.hit.text, self.query))
        if self.found is not None and (source := self._source):
            return fast_format_html(FOUND_IN, title=source, words=self._found_words)
        if self.shown.change_after_answer and self.shown.unread:
            return fast_format_html(CHANGED_TEXT, words=ChangeAfterAnswer(self.shown.change_after_answer).label)
        words = render_preview(self.shown.last_text) or "…"
        if self.shown.last_direction != Message.Direction.OUTBOUND:
            return words
        return fast_format_html(OUR_TEXT, title=_("We:"), words=words)

    @property
    def _found_words(self) -> SafeString | str:
        """Render the found note or tag. A request's number is in ``_source``; its chat's last message follows."""
        assert self.found is not None
        if self.found.source == REQUEST:
            return fast_format_html("· {words}", words=render_preview(self.shown.last_text))
        return excerpt_around(self.found.words, self.query)

    @property
    def _source(self) -> str:
        """Return where the search found the chat, if not by the client's name or in a message."""
        assert self.found is not None
        if self.found.source == REQUEST:
            return _("Request № %(number)s") % {"number": self.found.words}
        return {TAG: pgettext("found in", "Tag:"), NOTE: pgettext("found in", "Note:")}.get(self.found.source, "")

    @property
    def _ends(self) -> SafeString:
        """Render the time left in the window, or the time of the last message."""
        if not self.is_open:
            received = _("received late, %(at)s") % {"at": self.received} if self.received else ""
            return fast_format_html(
                LAST_MESSAGE_AT,
                moment=self.moment,
                title=fast_format_html(TITLE, words=received) if received else "",
                late=fast_format_html(UNSEEN, words=received) if received else "",
            )
        warned: SafeString | str = ""
        if self.is_warned:
            warned = fast_format_html(WARNED, icon=render_icon("bell", "tiny"), words=_("Reminder sent."))
        return fast_format_html(
            ENDS,
            level=self.window.level,
            until=self.window.iso,
            warned=warned,
            title=_("Window:"),
            words=self.window.words,
        )

    @property
    def _waits(self) -> SafeString | str:
        """Render until when the chat is snoozed, or how long the client has been waiting for a reply."""
        if self.snoozed:
            return fast_format_html(SNOOZED, words=self.snoozed)
        if self.shown.waiting_since is None:
            return ""
        return fast_format_html(
            WAITS,
            title=_("Waiting for a reply"),
            waiting=pgettext("client", "waiting"),
            since=self.shown.waiting_since.isoformat(),
            words=self.waiting,
        )

    @property
    def preview(self) -> str:
        """Return the search hit or the last message as plain text."""
        return self.hit.text[:120] if self.hit is not None else str(render_preview(self.shown.last_text))

    @property
    def _mark(self) -> SafeString | str:
        """Render the unread count, or the assignee, or the team that the chat waits for."""
        unread, assignee = self.shown.unread, self.shown.assignee or self.shown.team
        if unread:
            label = ngettext("%d unread", "%d unread", unread) % unread
            return fast_format_html(UNREAD, label=label, number=unread if unread <= MAX_SHOWN else f"{MAX_SHOWN}+")
        return fast_format_html(FACE, name=assignee, letters=presentation.name_initials(assignee)) if assignee else ""
