"""HTML of the messages in a thread.

Common parts are format strings instead of templates for speed: a thread has fifty messages. Rare parts (quotes, files,
reactions, problems) are templates that are rendered only where needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bridge.conversations import reactions
from bridge.desk.html import fast_format_html, render_icon
from channels_setup.codecs.message_extras import compose_own_text
from channels_setup.codecs.whatsapp_markup import render_html

from .extras import MessageExtras
from .items import ThreadItem
from .message_view import MessageView

MESSAGE = """
<li class="msg{out}{group}" id="m{pk}" {attributes} data-side="{side}"{form}>
  <div class="bubble {status}"><span class="unseen">{who}:</span>
    {header}{text}{previous_versions}
    {meta}{reactions}{reply}{react}
  </div>{problem}
  <div class="trail" id="trail-{pk}"></div>
</li>"""
NOTICE = """
<li class="chat-notice" {attributes}>{sentence} <time datetime="{moment}" title="{full_time}">{at}</time></li>"""
META = (
    '<a class="meta" href="{href}" data-trail="trail-{pk}" aria-expanded="false" aria-controls="trail-{pk}"'
    ' title="{title}">'
    '{author}<time datetime="{moment}" title="{when}">{at}</time>{late}{end}</a>'
)
REPLY = '<a class="reply" href="{href}" data-reply="{pk}"'
REACT = '<button type="button" class="reply react" data-react="{href}" aria-haspopup="dialog"'
NAMED = ' title="{words}" aria-label="{words}">{icon}'
TICKS = '<span class="ticks {status}" title="{words}">{icon}<span class="unseen">{words}</span></span>'
ATTRIBUTES = 'data-key="{key}" data-version="{version}"{request}{hidden}'
FORM = ' data-draft-key="{key}"'  # key of its draft, so that other tabs with that draft notice the sending
FOLDED_REQUEST, HIDDEN = ' data-request="{ticket}"', SafeString(" hidden")
AUTHOR, UNSEEN = '<span class="cut">{words}</span>', '<span class="unseen">{words}</span>'
LATE = '<span class="late" title="{words}">{says}</span><span class="unseen">{words}</span>'
TEXT = '<div class="text{css}" dir="auto">{html}</div>'

TemplateRenderer = Callable[..., SafeString]  # renders a template by name, with extra context


def item_attributes(item: ThreadItem) -> SafeString:
    """Render the data attributes that thread-updates.js needs on each thread item."""
    request = fast_format_html(FOLDED_REQUEST, ticket=item.request_id) if item.request_id else ""
    hidden = HIDDEN if item.request_id and item.is_folded else ""
    return fast_format_html(ATTRIBUTES, key=item.key, version=item.version, request=request, hidden=hidden)


@dataclass(frozen=True, kw_only=True)
class BubbleRenderer:
    """Renderer of the messages of one chat."""

    client: str  # name
    trail_url: Callable[[int], str]  # URL of a message's delivery trail
    reply_url: Callable[[int], str] | None  # URL of a reply that quotes a message; None if unsupported
    react_url: Callable[[int], str] | None  # URL of a reaction to a message; None if unsupported
    render_template: TemplateRenderer
    is_erased: bool = False  # the client's data was erased

    @cached_property
    def details_title(self) -> str:
        return _("Delivery details")

    @cached_property
    def inbound_end(self) -> SafeString:
        return fast_format_html(UNSEEN, words=self.details_title)

    @cached_property
    def reply_label(self) -> SafeString:
        return fast_format_html(NAMED, words=_("Reply to this message"), icon=render_icon("reply", "small"))

    @cached_property
    def react_label(self) -> SafeString:
        return fast_format_html(NAMED, words=_("React to this message"), icon=render_icon("smile", "small"))

    @cached_property
    def ticks(self) -> dict[str, SafeString]:
        """Return the HTML of the statuses rendered so far."""
        return {}

    def html(self, item: ThreadItem) -> SafeString:
        view: Any = item.message
        moment = view.written_at.isoformat()
        if view.is_notice:
            words = view.message.sentence
            sentence = render_html(words) if view.message.reason == "note" else words
            return fast_format_html(
                NOTICE,
                attributes=item_attributes(item),
                sentence=sentence,
                moment=moment,
                full_time=view.full_time,
                at=view.at,
            )
        message, extras = view.message, view.extras
        return fast_format_html(
            MESSAGE,
            out=" out" if view.is_ours else "",
            group=(" follows" if item.follows else "") + (" leads" if item.is_followed else ""),
            pk=message.pk,
            attributes=item_attributes(item),
            side=message.direction,
            form=fast_format_html(FORM, key=message.form_key) if message.form_key else "",
            status=message.status,
            who=(view.author or "Okno") if view.is_ours else self.client,
            header=self._render_part("header", view, needed=_has_header(view, extras)),
            text=_render_text(view, extras) or self._erased_text(view),
            previous_versions=self._render_part("previous_versions", view, needed=extras.previous_versions),
            meta=self._meta(view, moment=moment),
            reactions=self._render_part("reactions", view, needed=extras.reactions),
            reply=self._reply(view, extras),
            react=self._react(view, extras),
            problem=self._render_part("problem", view, needed=view.problem)
            or self._render_part("reaction_problem", view, needed=extras.reaction_problem),
        )

    def _erased_text(self, view: MessageView) -> SafeString | str:
        return (
            fast_format_html(TEXT, css=" erased", html=_("The text was erased"))
            if self.is_erased and not view.message.localized_text
            else ""
        )

    def _render_part(self, name: str, view: MessageView, *, needed: object) -> SafeString | str:
        if not needed:
            return ""
        return self.render_template(f"bridge/message_{name}.html", view=view, message=view.message, extras=view.extras)

    def _reply(self, view: MessageView, extras: MessageExtras) -> SafeString | str:
        message = view.message
        if self.reply_url is None or not message.external_id or extras.is_revoked:
            return ""
        head = fast_format_html(REPLY, href=self.reply_url(message.pk), pk=message.pk)
        return SafeString(f"{head}{self.reply_label}</a>")

    def _react(self, view: MessageView, extras: MessageExtras) -> SafeString | str:
        message = view.message
        is_old = view.now - view.written_at > reactions.MAX_AGE
        if self.react_url is None or view.is_ours or not message.external_id or extras.is_revoked or is_old:
            return ""
        return SafeString(f"{fast_format_html(REACT, href=self.react_url(message.pk))}{self.react_label}</button>")

    def _meta(self, view: MessageView, *, moment: str) -> SafeString:
        """Render author, time and status, linked to the delivery trail."""
        pk, received_at = view.message.pk, view.received_at
        received = _("Received %(at)s") % {"at": received_at} if received_at else ""
        return fast_format_html(
            META,
            href=self.trail_url(pk),
            pk=pk,
            title=self.details_title,
            author=fast_format_html(AUTHOR, words=view.author) if view.is_ours and view.author else "",
            moment=moment,
            when=f"{view.full_time}. {received}" if received else view.full_time,
            at=view.at,
            late=fast_format_html(LATE, words=received, says=_("received late")) if received else "",
            end=self._ticks(view) if view.is_ours else self.inbound_end,
        )

    def _ticks(self, view: MessageView) -> SafeString:
        status = view.message.status
        if status not in self.ticks:
            self.ticks[status] = _render_ticks(view)
        return self.ticks[status]


def _has_header(view: MessageView, extras: MessageExtras) -> object:
    return view.template_name or view.held_since or view.files or extras.quoted or extras.tags or extras.has_parts


def _render_text(view: MessageView, extras: MessageExtras) -> SafeString | str:
    message = view.message
    words = compose_own_text(message.text, message.shown) if message.shown else message.text
    if not words or extras.replaces_text:
        return ""
    css = " revoked" if extras.is_revoked else ""
    return SafeString(f'<div class="text{css}" dir="auto">{render_html(words)}</div>')


def _render_ticks(view: MessageView) -> SafeString:
    name = view.tick_icon
    icon = render_icon(name) if name in ("tick", "ticks") else render_icon(name, "round")
    return fast_format_html(TICKS, status=view.message.status, words=view.status_words, icon=icon)
