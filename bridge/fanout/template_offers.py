"""Templates offered to an external helpdesk's operator in place of a text that could not be sent.

Offered texts are ones that will be recognized when pasted. If more is needed (a file, the end of a link, a choice
between languages), the note links to a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from django.utils.translation import gettext as _

from bridge.decisions import Decision
from bridge.models import Conversation, TemplateLink
from templates_registry import index_cache
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import MatchOutcome, MatchResult
from templates_registry.models import Template
from templates_registry.pasteable import is_pasteable, text_to_paste

from . import template_links

MAX_OFFERS = 3  # texts per note
MAX_CANDIDATES = 40  # templates considered


class TemplateOffers:
    """The lines of a note, and its links."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.lines: list[str] = []
        self.links: list[TemplateLink] = []

    def link(self, sentence: str, choices: Iterable[tuple[int, dict[str, str]]] = ()) -> None:
        listed = [{"template": pk, "values": values} for pk, values in choices]
        made = template_links.create_template_link(self.conversation, listed)
        self.links.append(made)
        self.lines.append(f"{sentence}\n{template_links.build_link_url(made)}")


def build_template_offers(conversation: Conversation, decision: Decision | None, text: str) -> TemplateOffers:
    """Offer the matching template, to paste or to fill in behind a link; otherwise some that can be pasted."""
    made = TemplateOffers(conversation)
    found = (
        index_cache.recognize_template(conversation.api_channel, text) if decision and decision.recognition else None
    )
    if found is not None and found.outcome is MatchOutcome.AMBIGUOUS and _offer_choice(made, found, text):
        return made
    sendable = Template.objects.sendable().filter(api_channel=conversation.api_channel_id)
    rows = sendable.select_related("api_channel").order_by("name", "pk")
    meant = (decision.details.get("template_id") if decision else None) or 0
    fitting = rows.filter(pk=meant).first()
    if fitting is not None:
        _offer_fitting_template(made, fitting, found)
    elif rows.exists():
        _offer_some_templates(made, rows[:MAX_CANDIDATES])
    else:
        made.lines.append(_("There is no approved template on this channel yet."))
    return made


def _offer_choice(made: TemplateOffers, found: MatchResult, text: str) -> bool:
    """Link to a choice if the text fits several templates, or one in several ways. Return whether it was offered."""
    choices = []
    for entry in found.candidates:
        if isinstance(entry.ident, int):
            readings = found.readings or (MatchIndex([entry]).recognize(text).parameters,)
            choices += [(entry.ident, dict(values)) for values in readings]
    if choices:
        made.link(_("Choose the one you mean and send it here (the link works for 24 hours and once):"), choices)
    return bool(choices)


def _offer_fitting_template(made: TemplateOffers, template: Template, found: MatchResult | None) -> None:
    if is_pasteable(template):
        made.lines += [_("To paste, with the values filled in:"), _format_pasteable(template)]
        return
    keys = {variable.key for variable in template.pattern.variables}
    values = {key: value for key, value in (found.parameters if found else {}).items() if key in keys}
    made.link(
        _("“%(name)s” needs more than its text. Fill it in and send it here (the link works for 24 hours and once):")
        % {"name": template.name},
        [(template.pk, values)],
    )


def _offer_some_templates(made: TemplateOffers, rows: Iterable[Template]) -> None:
    pasted = list(islice((template for template in rows if is_pasteable(template)), MAX_OFFERS))
    if pasted:
        made.lines += [_("Templates that may go out, to paste and fill in:"), *map(_format_pasteable, pasted)]
    made.link(_("Choose a template, fill it in and send it here (the link works for 24 hours and once):"))


def _format_pasteable(template: Template) -> str:
    return f"{text_to_paste(template.pattern)}\n({template.name}, {template.language})"
