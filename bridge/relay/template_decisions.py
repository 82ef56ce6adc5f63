"""Decisions that need the template registry: which template a text matches, and whether it may be sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.conversations import consents
from bridge.decisions import REFUSE, TEMPLATE, ChosenTemplate, Decision
from bridge.models import Conversation
from templates_registry import index_cache
from templates_registry.content import sendability
from templates_registry.content.components import TemplateDefinition
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.content.leftover_placeholders import OPENING, has_leftovers
from templates_registry.content.rendering import build_provider_components, render
from templates_registry.matching.result import MatchOutcome, MatchResult
from templates_registry.models import Status, Template

REASONS = {
    MatchOutcome.AMBIGUOUS: "template_ambiguous",
    MatchOutcome.NEAR_MISS: "template_near_miss",
    MatchOutcome.NOT_READY: "template_not_ready",
}


def decide_in_closed_window(conversation: Conversation, text: str) -> Decision | None:
    """Return the decision for a text that may only be sent as a template, or None if no template is similar."""
    if not conversation.api_channel.provider.sends_templates:
        return None
    match = index_cache.recognize_template(conversation.api_channel, text)
    if match.outcome == MatchOutcome.TEMPLATE:
        return refuse_opted_out(conversation, match.entry.ident) or _decide_match(match)  # type: ignore[union-attr]
    return None if match.outcome == MatchOutcome.NONE else _refuse_match(match)


def decide_in_open_window(conversation: Conversation, text: str) -> Decision | None:
    """Send a template's text as the template if the channel is configured so. Return None to send it as text.

    A template's text with an unfilled placeholder is refused. If the client opted out of templates, the text is sent as
    text: it is an answer to them.
    """
    channel = conversation.api_channel
    may_have_placeholders = bool(OPENING.intersection(text))
    if not channel.provider.sends_templates or not (channel.template_in_window or may_have_placeholders):
        return None
    match = index_cache.recognize_template(channel, text)
    if match.outcome == MatchOutcome.TEMPLATE:
        is_sent_as_template = channel.template_in_window and not refuse_opted_out(conversation, match.entry.ident)  # type: ignore[union-attr]
        return _decide_match(match) if is_sent_as_template else None
    is_template = match.outcome in (MatchOutcome.NOT_READY, MatchOutcome.NEAR_MISS) and match.entry is not None
    if may_have_placeholders and is_template and has_leftovers(match.entry.template, text):  # type: ignore[union-attr]
        return _refuse_match(match, reason="template_placeholder_left")
    return None


def _refuse_match(match: MatchResult, *, reason: str = "") -> Decision:
    return Decision(
        outcome=REFUSE,
        reason=reason or REASONS[match.outcome],
        details={"why": str(match.sentence), "template_id": match.entry.ident if match.entry else None},
        recognition=match.as_json(),
    )


def decide_chosen_template(conversation: Conversation, *, template_id: int, parameters: Any) -> Decision:
    """Return the decision for a template that was chosen with its values."""
    channel = conversation.api_channel
    if not channel.provider.sends_templates:
        return Decision(outcome=REFUSE, reason="templates_not_supported")
    template = Template.objects.select_related("api_channel").filter(pk=template_id, api_channel=channel).first()
    if template is None:
        return Decision(outcome=REFUSE, reason="template_unknown")
    if template.status != Status.APPROVED:
        return Decision(outcome=REFUSE, reason="template_not_sendable", details={"name": template.name})
    if (refusal := refuse_opted_out(conversation, template.pk, category=template.category)) is not None:
        return refusal
    if missing := template.missing:
        details = {"name": template.name, "why": str(sendability.list_missing_parts(missing))}
        return Decision(outcome=REFUSE, reason="template_not_fillable", details=details)
    try:
        return decide_filled_template(
            template.pk, template.definition, parameters, text_only=not channel.provider.sends_template_values
        )
    except InvalidTemplate as problem:
        return Decision(outcome=REFUSE, reason="template_values", details={"why": str(problem.sentence)})


def refuse_opted_out(conversation: Conversation, template_id: Any, *, category: str | None = None) -> Decision | None:
    """Return the refusal if the client opted out of templates like this one. The caller holds the chat's lock."""
    opt_out = consents.find_opt_outs([conversation.pk]).get(conversation.pk)
    if opt_out is None:
        return None
    if category is None:
        category = Template.objects.filter(pk=template_id).values_list("category", flat=True).first() or ""
    code = consents.get_refusal(opt_out, category)
    return Decision(outcome=REFUSE, reason=code) if code else None


def find_opt_out_refusals(templates: Mapping[int, Mapping[str, Any]], chats: Mapping[int, int]) -> dict[int, str]:
    """Return the codes of deliveries that an opt-out blocks, by delivery ID: the set form of ``refuse_opted_out``.

    ``templates`` and ``chats``: the template and the conversation of each delivery.
    """
    opt_outs = consents.find_opt_outs({chats[pk] for pk in templates if pk in chats})
    blocked = {pk: template for pk, template in templates.items() if chats.get(pk) in opt_outs}
    if not blocked:
        return {}
    ids = {pk for template in blocked.values() if (pk := template.get("id"))}
    categories = dict(Template.objects.filter(pk__in=ids).values_list("pk", "category"))
    codes = {
        pk: consents.get_refusal(opt_outs[chats[pk]], categories.get(template.get("id") or 0, ""))
        for pk, template in blocked.items()
    }
    return {pk: code for pk, code in codes.items() if code}


def decide_filled_template(
    template_id: int, definition: TemplateDefinition, parameters: Any, *, text_only: bool
) -> Decision:
    """Return the decision for a template with values: send it, or refuse it with what is missing or too long.

    `text_only`: the provider adds media and button parameters itself, so they need not be given.
    """
    rendering = render(definition, parameters, text_only=text_only)
    if not rendering.ready:
        why = " ".join(str(problem.sentence) for problem in rendering.problems)
        details = {"why": why, "template_id": template_id}
        return Decision(outcome=REFUSE, reason="template_values", details=details)
    values = definition.map_values(parameters)
    return Decision(
        outcome=TEMPLATE,
        text=rendering.text,
        template=ChosenTemplate(
            id=template_id,
            name=definition.name,
            language=definition.language,
            parameters=definition.arrange_values(values),
            components=build_provider_components(definition, values),
        ),
    )


def _decide_match(match: MatchResult) -> Decision:
    entry = match.entry
    assert entry is not None and isinstance(entry.ident, int)
    return decide_filled_template(entry.ident, entry.template, match.parameters, text_only=entry.text_only)


def find_unsendable_templates(templates: Iterable[Mapping[str, Any]]) -> set[int]:
    """Return the IDs of these messages' templates that may no longer be sent."""
    template_ids = {template["id"] for template in templates if template.get("id")}
    if not template_ids:
        return set()
    approved = Template.objects.filter(pk__in=template_ids, status=Status.APPROVED).values_list("pk", flat=True)
    return template_ids - set(approved)
