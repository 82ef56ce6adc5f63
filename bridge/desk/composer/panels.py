"""The panel over the box one writes in: what the registry says of the text, or the template that was picked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import service_window
from bridge.models import Conversation
from templates_registry import index_cache, selection
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome, MatchResult
from templates_registry.matching.word_comparison import WordDifference
from templates_registry.models import Template, TemplateQuerySet
from templates_registry.preview import MAX_VALUE_LENGTH, TemplatePreview, build_preview

from . import prefill

PICKER_ROWS = 40
MAX_OFFERS = 3  # templates that a shut window offers at once, before anybody asks for the list
MIN_TEXT_LENGTH = 4  # characters; shorter text is not worth asking about while somebody types

# RECOGNIZED: the box holds the template's text, and the two follow each other. PICKED: the box keeps its own text.
RECOGNIZED, PICKED, HOLD = "recognized", "picked", "hold"
PICKER, NEAR_MISS, AMBIGUOUS, NOTICE = "picker", "near", "ambiguous", "says"


@dataclass(frozen=True, kw_only=True)
class TemplateChoice:
    """A template to choose with the values already told, as JSON for its button."""

    template: Template
    words: str
    values: str


@dataclass(frozen=True, kw_only=True)
class TemplatePanel:
    kind: str
    say: str = ""
    template: Template | None = None
    filling: TemplatePreview | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    difference: tuple[WordDifference, ...] = ()
    choices: tuple[TemplateChoice, ...] = ()
    groups: list[selection.TemplateGroup] = field(default_factory=list)
    query: str = ""
    may_hold: bool = False
    is_hold: bool = False  # of a picker: the template is for holding the text

    @property
    def css(self) -> str:
        if self.kind == RECOGNIZED:
            return "good" if self.filling and self.filling.ready else "warn"
        return "warn" if self.kind in (NEAR_MISS, AMBIGUOUS, NOTICE) else ""

    @property
    def text(self) -> str:
        """What the box holds while it follows the fields."""
        return self.filling.rendering.text if self.filling and self.kind == RECOGNIZED else ""


def sendable_templates(request: HttpRequest, conversation: Conversation) -> TemplateQuerySet:
    """What this operator may send in this chat."""
    rows = Template.objects.all().visible_to(request.user).sendable().filter(api_channel=conversation.api_channel)
    return rows if conversation.api_channel.provider.sends_templates else rows.none()


def can_recognize(conversation: Conversation, window: service_window.WindowState) -> bool:
    """Whether text of this chat may go out as a template, so that it is worth asking the registry."""
    channel = conversation.api_channel
    return channel.provider.sends_templates and (not window.is_open or channel.template_in_window)


def build_picker(request: HttpRequest, conversation: Conversation, *, query: str, is_hold: bool) -> TemplatePanel:
    rows = selection.search_templates(sendable_templates(request, conversation), query)
    found = selection.order_for_user(rows, user=request.user)[:PICKER_ROWS]
    return TemplatePanel(kind=PICKER, groups=list(selection.group_templates(found)), query=query, is_hold=is_hold)


def suggest_templates(
    request: HttpRequest, conversation: Conversation, window: service_window.WindowState
) -> list[selection.TemplateListItem]:
    """Where only a template may go out: the first ones that this operator would look for."""
    if window.is_open:
        return []
    rows: Any = selection.order_for_user(sendable_templates(request, conversation), user=request.user)[:MAX_OFFERS]
    return [selection.TemplateListItem(template=row, is_favourite=row.is_favourite) for row in rows]


def build_template_panel(
    conversation: Conversation, template: Template, values: Mapping[str, str], *, kind: str
) -> TemplatePanel:
    """A template with its fields. Known values are put in by whoever opens it, once."""
    filled = build_preview(template, values)
    if filled is None:
        return TemplatePanel(kind=NOTICE, say=_("This template cannot be shown. Ask an admin to check it."))
    return TemplatePanel(kind=kind, template=template, filling=filled)


def initial_values(conversation: Conversation, template: Template, told: Mapping[str, str]) -> dict[str, str]:
    """What is known of the chat, and over it what has been told already."""
    filled = build_preview(template, told)
    if filled is None:
        return {}
    return prefill.prefill_values(conversation, filled.pattern) | {
        key: value for key, value in filled.given.items() if value
    }


def recognize_text(
    conversation: Conversation, text: str, *, user: Any, window: service_window.WindowState, was_sent: bool
) -> TemplatePanel | None:
    """What the registry says of this text; None where there is nothing to say. ``was_sent``: it came back refused."""
    if not can_recognize(conversation, window) or len(text.strip()) < MIN_TEXT_LENGTH:
        return None
    found = index_cache.recognize_template(conversation.api_channel, text)
    if window.is_open and found.outcome != MatchOutcome.TEMPLATE:
        return None  # it goes out as plain text, whatever it is like
    if found.outcome == MatchOutcome.NONE:
        if not was_sent:
            return None
        return TemplatePanel(
            kind=NOTICE, say=_("%(why)s Choose one, or hold the text.") % {"why": found.sentence}, may_hold=True
        )
    if found.outcome == MatchOutcome.AMBIGUOUS:
        return _ambiguous_panel(found, text, user=user)
    template = _find_template(found.entry, user=user)
    if template is None:
        return None
    if found.outcome == MatchOutcome.NEAR_MISS:
        return TemplatePanel(
            kind=NEAR_MISS,
            say=str(found.sentence) if found.retired else "",
            template=template,
            values=found.parameters,
            difference=found.difference,
            may_hold=not found.retired,
        )
    if not template.may_be_sent:
        return TemplatePanel(kind=NOTICE, say=str(found.sentence), may_hold=True)
    return _recognized(conversation, template, found)


def _recognized(conversation: Conversation, template: Template, found: MatchResult) -> TemplatePanel:
    """Exactly one template; where values are missing, with what is known of the chat."""
    if found.outcome == MatchOutcome.TEMPLATE:
        return build_template_panel(conversation, template, found.parameters, kind=RECOGNIZED)
    values = initial_values(conversation, template, found.parameters)
    filled = build_preview(template, values)
    return TemplatePanel(kind=RECOGNIZED, say=str(found.sentence), template=template, filling=filled)


def _ambiguous_panel(found: MatchResult, text: str, *, user: Any) -> TemplatePanel:
    choices = []
    for entry in found.candidates:
        template = _find_template(entry, user=user)
        if template is None:
            continue
        readings = found.readings or (MatchIndex([entry]).recognize(text).parameters,)
        choices += [_build_choice(template, entry, values) for values in readings]
    return TemplatePanel(kind=AMBIGUOUS, say=str(found.sentence), choices=tuple(choices))


def _build_choice(template: Template, entry: IndexEntry, values: dict[str, str]) -> TemplateChoice:
    words = ", ".join(
        pgettext("a variable and its value", "%(title)s: %(value)s")
        % {"title": entry.template.title_of(key), "value": value}
        for key, value in values.items()
    )
    return TemplateChoice(template=template, words=words, values=json.dumps(values, ensure_ascii=False))


def parse_choice(choice: str) -> dict[str, str]:
    """The values of a ``TemplateChoice``'s button, back from the form."""
    try:
        told = json.loads(choice) if len(choice) < 8 * MAX_VALUE_LENGTH else {}
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {str(key): value.replace("\0", "") for key, value in told.items() if isinstance(value, str)}


def _find_template(entry: IndexEntry | None, *, user: Any) -> Template | None:
    """The row, if this operator may see it."""
    if entry is None or not isinstance(entry.ident, int):
        return None
    return Template.objects.all().visible_to(user).select_related("api_channel").filter(pk=entry.ident).first()
