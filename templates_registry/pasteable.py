"""Templates that can be sent by pasting their text, and the text to paste.

Operators of an external helpdesk are offered such texts. Each text is tried on the index that will match the paste, so
that an offered text is always recognized.
"""

from __future__ import annotations

from . import index_cache
from .content.components import TemplateDefinition, Variable, VariablePlace, split_placeholders
from .content.graph_format import InvalidTemplate
from .content.rendering import render
from .content.slots import ValueKind
from .matching.result import MatchOutcome
from .models import Template


def is_pasteable(template: Template) -> bool:
    """Return whether the filled-in text alone is recognized as this template and can be sent."""
    try:
        definition = template.definition
    except InvalidTemplate:
        return False
    values = {variable.key: _sample_value(variable) for variable in definition.variables if variable.in_text}
    found = index_cache.recognize_template(template.api_channel, render(definition, values, text_only=True).text)
    return found.outcome is MatchOutcome.TEMPLATE and found.entry is not None and found.entry.ident == template.pk


def text_to_paste(definition: TemplateDefinition) -> str:
    """Return header, body and footer with labels in place of the values."""
    texts = (
        (VariablePlace.HEADER, definition.header_text),
        (VariablePlace.BODY, definition.body),
        (VariablePlace.BODY, "" if definition.has_standard_footer else definition.footer),
    )
    return "\n".join(
        "".join(definition.label_piece(one, place) for one in split_placeholders(text)) for place, text in texts if text
    )


def _sample_value(variable: Variable) -> str:
    if variable.kind is ValueKind.CODE:
        return "482913"
    return f"Образец{variable.key.replace('.', '')}"  # a word that no template contains
