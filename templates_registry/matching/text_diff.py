"""Comparison of template texts: equality of content, and word-by-word differences.

Examples, labels and the provider's temporary links are not content: a template whose examples change remains approved.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from templates_registry.content.components import TEXT, Button, TemplateDefinition

from .word_comparison import find_common_words

TOKEN = re.compile(r"\w+|\s|[^\w\s]")
MAX_TOKENS = 4_000  # beyond, both texts are shown whole
MAX_PAIRS = 10_000  # of equal tokens; SequenceMatcher would take seconds beyond

SAME, REMOVED, ADDED = "same", "removed", "added"


@dataclass(frozen=True, slots=True)
class DiffPiece:
    """Consecutive words that are equal, removed or added. ``kind`` is "same", "removed" or "added"."""

    kind: str
    text: str


def content_key(template: TemplateDefinition) -> Hashable:
    """Return a key that is equal for templates with equal content."""
    header = template.header
    return (
        (header.kind, template.header_text) if header else None,
        template.body,
        template.footer,
        tuple(_button(button) for button in template.buttons),
        tuple(_without_examples(other) for other in template.others),
        template.offer,
        template.body_extra,
        template.footer_extra,
        tuple(content_key(card) for card in template.cards),
    )


def template_text(template: TemplateDefinition) -> str:
    """Return all texts of a template, one component per line, for comparison and display."""
    lines = []
    if template.header:
        lines.append(template.header_text if template.header.kind == TEXT else f"[{template.header.kind}]")
    lines += [template.offer.text if template.offer else "", template.body, template.footer]
    for button in template.buttons:
        lines.append(" ".join(filter(None, (f"[{button.text or button.kind}]", button.url, button.phone_number))))
    lines += [template_text(card) for card in template.cards]
    return "\n".join(line for line in lines if line)


def diff_texts(old: str, new: str) -> tuple[DiffPiece, ...]:
    """Return the differences between two texts; a single "same" piece if they are equal."""
    before, after = TOKEN.findall(old), TOKEN.findall(new)
    if len(before) + len(after) > MAX_TOKENS:
        return diff_whole_texts(old, new)
    steps: list[tuple[str, str]] = []
    i = k = 0
    for j, m, size in _equal_blocks(before, after):
        steps += [(REMOVED, "".join(before[i:j])), (ADDED, "".join(after[k:m])), (SAME, "".join(before[j : j + size]))]
        i, k = j + size, m + size
    return tuple(_pieces(_joined([step for step in steps if step[1]])))


def diff_whole_texts(old: str, new: str) -> tuple[DiffPiece, ...]:
    """Return both texts whole, as one removed and one added piece."""
    return tuple(_pieces(((REMOVED, old), (ADDED, new)) if old != new else ((SAME, old),)))


def _equal_blocks(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return blocks of equal tokens as (position before, position after, length); the last block is empty.

    Long blocks read best, but finding them takes cubic time in the number of equal tokens. Beyond MAX_PAIRS the longest
    common subsequence is used.
    """
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    tail = next((at for at in range(shorter - head) if before[-1 - at] != after[-1 - at]), shorter - head)
    one, other = before[head : len(before) - tail], after[head : len(after) - tail]
    counts = Counter(other)
    if sum(counts[token] for token in one) > MAX_PAIRS:
        inner: Sequence[tuple[int, int, int]] = [(i, k, 1) for i, k in find_common_words(one, other)]
    else:
        inner = SequenceMatcher(a=one, b=other, autojunk=False).get_matching_blocks()
    blocks = [(0, 0, head), *((head + i, head + k, size) for i, k, size in inner)]
    return [*blocks, (len(before) - tail, len(after) - tail, tail)]


def _joined(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join changes that only a space separates: «old word» instead of «old» «word»."""
    joined: list[tuple[str, str]] = []
    removed = new = ""
    for index, (kind, text) in enumerate(steps):
        if kind == REMOVED:
            removed += text
        elif kind == ADDED:
            new += text
        elif text == " " and (removed or new) and index + 1 < len(steps):
            removed, new = removed + text, new + text
        else:
            joined += [(REMOVED, removed), (ADDED, new), (SAME, text)]
            removed = new = ""
    return [*joined, (REMOVED, removed), (ADDED, new)]


def _pieces(steps: Any) -> Iterator[DiffPiece]:
    return (DiffPiece(kind, text) for kind, text in steps if text)


def _button(button: Button) -> Hashable:
    return button.kind, button.text, button.url, button.phone_number, _without_examples(button.extra)


def _without_examples(text: str) -> str:
    """Return JSON without its examples: for media these are links that change with every request."""
    return json.dumps(_stripped(json.loads(text)), sort_keys=True) if text else ""


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key != "example"}
    return [_stripped(item) for item in value] if isinstance(value, list) else value
