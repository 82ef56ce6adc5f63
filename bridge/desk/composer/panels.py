"""Template panel of the composer: recognition results, the picker, or a template with its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import outcomes, service_window
from bridge.conversations import consents
from bridge.desk import first_rows
from bridge.models import Conversation, OptOut
from bridge.relay import template_decisions
from templates_registry import index_cache, selection
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome, MatchResult
from templates_registry.matching.word_comparison import WordDifference
from templates_registry.models import Category, Template, TemplateQuerySet
from templates_registry.preview import MAX_VALUE_LENGTH, TemplatePreview, build_preview

from . import client_language, prefill

PICKER_ROWS = 40
MAX_OFFERS = 3  # templates suggested at once when the window is closed
MIN_TEXT_LENGTH = 4  # characters; shorter text is not matched while typing

# RECOGNIZED: the composer shows the template's text and follows its fields. PICKED: the composer keeps its own text.
RECOGNIZED, PICKED, HOLD = "recognized", "picked", "hold"
PICKER, NEAR_MISS, AMBIGUOUS, NOTICE = "picker", "near", "ambiguous", "notice"


@dataclass(frozen=True, kw_only=True)
class TemplateChoice:
    """One of several possible templates. ``values``: its values as JSON for the button."""

    template: Template
    words: str
    values: str


@dataclass(frozen=True, kw_only=True)
class TemplatePanel:
    kind: str
    sentence: str = ""
    template: Template | None = None
    preview: TemplatePreview | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    difference: tuple[WordDifference, ...] = ()
    choices: tuple[TemplateChoice, ...] = ()
    groups: list[selection.TemplateGroup] = field(default_factory=list)
    total: int = 0  # templates that match; the groups hold the first ``limit``
    query: str = ""
    may_hold: bool = False
    may_choose: bool = True  # another template
    is_hold: bool = False  # picker mode: the template announces a held text

    @property
    def limit(self) -> int:
        return PICKER_ROWS

    @property
    def css(self) -> str:
        if self.kind == RECOGNIZED:
            return "good" if self.preview and self.preview.ready else "warn"
        return "warn" if self.kind in (NEAR_MISS, AMBIGUOUS, NOTICE) else ""

    @property
    def text(self) -> str:
        """Return the text that the composer shows while it follows the fields."""
        return self.preview.rendering.text if self.preview and self.kind == RECOGNIZED else ""


def sendable_templates(request: HttpRequest, conversation: Conversation) -> TemplateQuerySet:
    """Find the templates that the user may send in this chat."""
    rows = Template.objects.all().visible_to(request.user).sendable().filter(api_channel=conversation.api_channel)
    return rows if conversation.api_channel.provider.sends_templates else rows.none()


def find_opt_out(conversation: Conversation) -> tuple[OptOut, str]:
    """Return the client's opt-out, and the sentence that says which templates it blocks, or ""."""
    opt_out = consents.find_opt_outs([conversation.pk]).get(conversation.pk, OptOut.NONE)
    code = consents.get_refusal(opt_out, Category.MARKETING)
    return opt_out, outcomes.render_sentence(code, {}) if code else ""


def leave_out_refused(rows: TemplateQuerySet, opt_out: OptOut) -> TemplateQuerySet:
    """Leave out templates that the client does not want."""
    if opt_out == OptOut.ALL:
        return rows.none()
    return rows.exclude(category=Category.MARKETING) if opt_out == OptOut.MARKETING else rows


def can_recognize(conversation: Conversation, window: service_window.WindowState) -> bool:
    """Return whether text of this chat may be sent as a template."""
    channel = conversation.api_channel
    return channel.provider.sends_templates and (not window.is_open or channel.template_in_window)


def build_picker(request: HttpRequest, conversation: Conversation, *, query: str, is_hold: bool) -> TemplatePanel:
    opt_out, sentence = find_opt_out(conversation)
    offered = leave_out_refused(sendable_templates(request, conversation), opt_out)
    language, rows = client_language.guess_language(conversation), selection.search_templates(offered, query)
    ordered = selection.order_for_user(rows, user=request.user, client_language=language)
    found, total = first_rows.read_first_rows(ordered, limit=PICKER_ROWS)
    groups = list(selection.group_templates(found))
    return TemplatePanel(kind=PICKER, groups=groups, total=total, query=query, is_hold=is_hold, sentence=sentence)


def suggest_templates(
    request: HttpRequest, conversation: Conversation, window: service_window.WindowState
) -> list[selection.TemplateListItem]:
    """Suggest the user's first templates in the client's language if the window is closed."""
    if window.is_open:
        return []
    offered = leave_out_refused(sendable_templates(request, conversation), find_opt_out(conversation)[0])
    language = client_language.guess_language(conversation)
    ordered: Any = selection.order_for_user(offered, user=request.user, client_language=language)
    # A favorite in another language does not help, and there is no room for both.
    rows = ordered.order_by("-is_for_client", *ordered.query.order_by)[:MAX_OFFERS]
    return [selection.TemplateListItem(template=row, is_favorite=row.is_favorite) for row in rows]


def build_template_panel(
    conversation: Conversation, template: Template, values: Mapping[str, str], *, kind: str
) -> TemplatePanel:
    """Build the panel of a template with its fields. Does not prefill values."""
    preview = build_preview(template, values)
    if preview is None:
        return TemplatePanel(kind=NOTICE, sentence=_("This template cannot be shown. Ask an admin to check it."))
    return TemplatePanel(kind=kind, template=template, preview=preview)


def initial_values(conversation: Conversation, template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """Return values known from the chat, overridden by the given ones."""
    preview = build_preview(template, values)
    if preview is None:
        return {}
    return prefill.prefill_values(conversation, preview.definition) | {
        key: value for key, value in preview.known_values.items() if value
    }


def recognize_text(
    conversation: Conversation, text: str, *, user: Any, window: service_window.WindowState, was_sent: bool
) -> TemplatePanel | None:
    """Match the text with the templates and build the panel, or return None. ``was_sent``: it was refused."""
    if not can_recognize(conversation, window) or len(text.strip()) < MIN_TEXT_LENGTH:
        return None
    if not window.is_open:
        opt_out, sentence = find_opt_out(conversation)
        if opt_out == OptOut.ALL:
            return TemplatePanel(kind=NOTICE, sentence=sentence, may_choose=False) if was_sent else None
    found = index_cache.recognize_template(conversation.api_channel, text)
    if window.is_open and found.outcome != MatchOutcome.TEMPLATE:
        return None  # sent as plain text
    if found.outcome == MatchOutcome.NONE:
        if not was_sent:
            return None
        if not Template.objects.all().visible_to(user).sendable().filter(api_channel=conversation.api_channel).exists():
            words = _("This channel has no approved templates that you can send. Ask an admin to add them.")
            return TemplatePanel(kind=NOTICE, sentence=words, may_choose=False)
        return TemplatePanel(
            kind=NOTICE, sentence=_("%(why)s Choose one, or hold the text.") % {"why": found.sentence}, may_hold=True
        )
    if found.outcome == MatchOutcome.AMBIGUOUS:
        return _ambiguous_panel(found, text, user=user)
    template = _find_template(found.entry, user=user)
    if template is None:
        return None
    if found.outcome == MatchOutcome.NEAR_MISS:
        return TemplatePanel(
            kind=NEAR_MISS,
            sentence=str(found.sentence) if found.retired else "",
            template=template,
            values=found.parameters,
            difference=found.difference,
            may_hold=not found.retired,
        )
    if not template.is_sendable:
        return TemplatePanel(kind=NOTICE, sentence=str(found.sentence), may_hold=True)
    if (
        refusal := template_decisions.refuse_opted_out(conversation, template.pk, category=template.category)
    ) is not None:
        return None if window.is_open else TemplatePanel(kind=NOTICE, sentence=refusal.sentence)
    return _recognized(conversation, template, found)


def _recognized(conversation: Conversation, template: Template, found: MatchResult) -> TemplatePanel:
    """Build the panel of the one matching template; prefill missing values."""
    if found.outcome == MatchOutcome.TEMPLATE:
        return build_template_panel(conversation, template, found.parameters, kind=RECOGNIZED)
    values = initial_values(conversation, template, found.parameters)
    preview = build_preview(template, values)
    return TemplatePanel(kind=RECOGNIZED, sentence=str(found.sentence), template=template, preview=preview)


def _ambiguous_panel(found: MatchResult, text: str, *, user: Any) -> TemplatePanel:
    choices = []
    for entry in found.candidates:
        template = _find_template(entry, user=user)
        if template is None:
            continue
        readings = found.readings or (MatchIndex([entry]).recognize(text).parameters,)
        choices += [_build_choice(template, entry, values) for values in readings]
    return TemplatePanel(kind=AMBIGUOUS, sentence=str(found.sentence), choices=tuple(choices))


def _build_choice(template: Template, entry: IndexEntry, values: dict[str, str]) -> TemplateChoice:
    words = ", ".join(
        pgettext("a variable and its value", "%(title)s: %(value)s")
        % {"title": entry.template.variable_title(key), "value": value}
        for key, value in values.items()
    )
    return TemplateChoice(template=template, words=words, values=json.dumps(values, ensure_ascii=False))


def parse_choice(choice: str) -> dict[str, str]:
    """Parse the values posted by a ``TemplateChoice`` button. Invalid input returns no values."""
    try:
        values = json.loads(choice) if len(choice) < 8 * MAX_VALUE_LENGTH else {}
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {str(key): value.replace("\0", "") for key, value in values.items() if isinstance(value, str)}


def _find_template(entry: IndexEntry | None, *, user: Any) -> Template | None:
    """Return the template if the user may see it."""
    if entry is None or not isinstance(entry.ident, int):
        return None
    return Template.objects.all().visible_to(user).select_related("api_channel").filter(pk=entry.ident).first()
