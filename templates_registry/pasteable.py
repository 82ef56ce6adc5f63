"""Which templates can be sent by pasting their text, and the text to paste.

What an outside helpdesk's operators are told to paste has to go out when they do: so a text is tried on the very index
that will read it.
"""

from __future__ import annotations

from . import index_cache
from .content.components import Hole, Place, Variable, braced, key_of, split
from .content.components import Template as Pattern
from .content.graph_format import NotATemplate
from .content.rendering import render
from .content.slots import ValueKind
from .matching.result import Outcome
from .models import Template


def can_be_pasted(template: Template) -> bool:
    """Whether its text alone, filled in, is recognized as this template and has all that it needs."""
    try:
        pattern = template.pattern
    except NotATemplate:
        return False
    values = {variable.key: _sample(variable) for variable in pattern.variables if variable.in_text}
    found = index_cache.recognise(template.api_channel, render(pattern, values, text_only=True).text)
    return found.outcome is Outcome.TEMPLATE and found.entry is not None and found.entry.ident == template.pk


def text_to_paste(pattern: Pattern) -> str:
    """Header, body and footer, with labels where the values belong."""
    texts = (
        (Place.HEADER, pattern.header_text),
        (Place.BODY, pattern.body),
        (Place.BODY, "" if pattern.has_standard_footer else pattern.footer),
    )
    return "\n".join("".join(_piece(pattern, one, place) for one in split(text)) for place, text in texts if text)


def _piece(pattern: Pattern, piece: str | Hole, place: Place) -> str:
    if not isinstance(piece, Hole):
        return piece
    variable = pattern.variable(key_of(piece.name, place))
    return f"[{variable.label}]" if variable and variable.label else braced(piece.name)


def _sample(variable: Variable) -> str:
    if variable.kind is ValueKind.CODE:
        return "482913"
    return f"Образец{variable.key.replace('.', '')}"  # a word that no template holds
