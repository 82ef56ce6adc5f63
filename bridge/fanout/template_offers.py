"""Templates offered to an external helpdesk's operators in place of a text that could not be sent.

The matcher recognizes every offered text when it is pasted. A template that needs more than text (a file, the end of a
link, a choice between languages) is offered as a link to a page.
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
MAX_CANDIDATES = 40


class TemplateOffers:
    """Lines and links of a note that offers templates."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.lines: list[str] = []
        self.links: list[TemplateLink] = []

    def add_link(self, sentence: str, choices: Iterable[tuple[int, dict[str, str]]] = ()) -> None:
        """Create a link and add a line with it. `choices`: template IDs with values; empty: any template."""
        stored = [{"template": pk, "values": values} for pk, values in choices]
        link = template_links.create_template_link(self.conversation, stored)
        self.links.append(link)
        self.lines.append(f"{sentence}\n{template_links.build_link_url(link)}")


def build_template_offers(conversation: Conversation, decision: Decision | None, text: str) -> TemplateOffers:
    """Offer the matching template to paste or to fill in on a page; if there is none, offer some to paste."""
    offers = TemplateOffers(conversation)
    match = (
        index_cache.recognize_template(conversation.api_channel, text) if decision and decision.recognition else None
    )
    if match is not None and match.outcome is MatchOutcome.AMBIGUOUS and _offer_choice(offers, match, text):
        return offers
    sendable = Template.objects.sendable().filter(api_channel=conversation.api_channel_id)
    rows = sendable.select_related("api_channel").order_by("name", "pk")
    template_id = (decision.details.get("template_id") if decision else None) or 0
    template = rows.filter(pk=template_id).first()
    if template is not None:
        _offer_matching_template(offers, template, match)
    elif rows.exists():
        _offer_some_templates(offers, rows[:MAX_CANDIDATES])
    else:
        offers.lines.append(_("There is no approved template on this channel yet."))
    return offers


def _offer_choice(offers: TemplateOffers, match: MatchResult, text: str) -> bool:
    """Offer a link if the text matches several templates, or one in several ways. Return whether it was offered."""
    choices = []
    for entry in match.candidates:
        if isinstance(entry.ident, int):
            readings = match.readings or (MatchIndex([entry]).recognize(text).parameters,)
            choices += [(entry.ident, dict(values)) for values in readings]
    if choices:
        offers.add_link(_("Choose a template and send it here (one-time link, valid for 24 hours):"), choices)
    return bool(choices)


def _offer_matching_template(offers: TemplateOffers, template: Template, match: MatchResult | None) -> None:
    if is_pasteable(template):
        offers.lines += [_("To send it, paste this text with the values filled in:"), _format_pasteable(template)]
        return
    keys = {variable.key for variable in template.definition.variables}
    values = {key: value for key, value in (match.parameters if match else {}).items() if key in keys}
    offers.add_link(
        _("“%(name)s” cannot be pasted as text. Fill it in and send it here (one-time link, valid for 24 hours):")
        % {"name": template.name},
        [(template.pk, values)],
    )


def _offer_some_templates(offers: TemplateOffers, rows: Iterable[Template]) -> None:
    pasteable = list(islice((template for template in rows if is_pasteable(template)), MAX_OFFERS))
    if pasteable:
        offers.lines += [_("Templates that you can paste and fill in:"), *map(_format_pasteable, pasteable)]
    offers.add_link(_("Choose a template, fill it in and send it here (one-time link, valid for 24 hours):"))


def _format_pasteable(template: Template) -> str:
    return f"{text_to_paste(template.definition)}\n({template.name}, {template.language})"
