"""Detection of placeholders that an operator left unfilled: ``{{…}}``, labels, labels in brackets.

Operators copy templates as Okno shows them, with labels instead of values. A label must never reach a client.

    whole value     the variable's own label, name or key, with or without brackets
    within a value  any ``{{…}}``; any label of the template in brackets

Other text in brackets is an ordinary value. Standard titles (“File above the text”) count as labels in every language
of the interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .components import TemplateDefinition, Variable, is_numbered
from .normalization import fold_text
from .titles import translated_titles

BRACES = re.compile(r"\{\{[^{}]*\}\}")
BRACKETED = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>|⟨[^⟨⟩]*⟩|［[^［］]*］|【[^【】]*】")
OPENING = frozenset("[{<⟨［【")  # a text without any of these has no placeholder in brackets
AROUND = " \n[]{}<>()⟨⟩［］【】\"'*_~`"
BEHIND = " \n:;,.…-"


def find_leftover(template: TemplateDefinition, variable: Variable, value: str) -> str:
    """Return the unfilled placeholder in the value of this variable; empty if there is none."""
    if braces := BRACES.search(value):
        return braces[0]
    bare = _bare(value)
    if bare and bare in _own_words(template, variable, is_bracketed=_is_bracketed(value)):
        return value.strip()
    return find_bracketed_label(template, value)


def find_bracketed_label(template: TemplateDefinition, text: str) -> str:
    """Return the first ``[label]`` of this template in the text; empty if there is none."""
    found = BRACKETED.findall(text)
    if not found:
        return ""
    labels = _labels(template)
    return next((one for one in found if _bare(one) in labels), "")


def has_leftovers(template: TemplateDefinition, text: str) -> bool:
    """Tell whether a text pasted as this template still has unfilled placeholders."""
    return bool(BRACES.search(text) or find_bracketed_label(template, text))


def _own_words(template: TemplateDefinition, variable: Variable, *, is_bracketed: bool) -> Iterator[str]:
    yield from _words_for(template, variable)
    if is_bracketed:
        yield variable.name  # a bare number may be a value, “[1]” is a placeholder


def _labels(template: TemplateDefinition) -> frozenset[str]:
    return frozenset(word for variable in template.variables for word in _words_for(template, variable))


def _words_for(template: TemplateDefinition, variable: Variable) -> Iterator[str]:
    words = [variable.label, variable.key, *translated_titles(template, variable)]
    words += [] if is_numbered(variable.name) else [variable.name]
    for word in words:
        if (bare := _bare(word)) and not is_numbered(bare):
            yield bare


def _is_bracketed(value: str) -> bool:
    return bool(BRACKETED.fullmatch(value.strip()))


def _bare(text: str) -> str:
    """Return the text in lowercase, without surrounding brackets and punctuation."""
    return fold_text(text).strip(AROUND).rstrip(BEHIND).strip(AROUND).casefold()
