"""What a template says, apart from everything said about it; and how two wordings differ, word by word.

Examples, labels and the provider's temporary links are no part of the wording: a template whose examples change
says the same as before and stays approved.
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
MAX_TOKENS = 4_000  # beyond, old and new are shown whole
MAX_PAIRS = 10_000  # of equal tokens; beyond, SequenceMatcher would take seconds

SAME, REMOVED, ADDED = "same", "gone", "new"


@dataclass(frozen=True, slots=True)
class DiffPiece:
    """Words in a row that stayed (same), are gone, or are new."""

    kind: str
    text: str


def content_key(template: TemplateDefinition) -> Hashable:
    """Equal for two templates that say the same."""
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
    """All that stands in it, a component a line: to be compared and shown, not to be sent."""
    lines = []
    if template.header:
        lines.append(template.header_text if template.header.kind == TEXT else f"[{template.header.kind}]")
    lines += [template.offer.text if template.offer else "", template.body, template.footer]
    for button in template.buttons:
        lines.append(" ".join(filter(None, (f"[{button.text or button.kind}]", button.url, button.phone_number))))
    lines += [template_text(card) for card in template.cards]
    return "\n".join(line for line in lines if line)


def diff_texts(old: str, new: str) -> tuple[DiffPiece, ...]:
    """The way from one text to the other; a single "same" piece where there is none."""
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
    """Return both texts whole."""
    return tuple(_pieces(((REMOVED, old), (ADDED, new)) if old != new else ((SAME, old),)))


def _equal_blocks(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return where equal tokens stand in a row, and how many; at last both ends with none.

    Long blocks read best. Finding them takes a time that grows with the cube of equal tokens, so where there are too
    many of these the longest common subsequence has to do.
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
    """A lone space that stayed between two changes goes with them: «old word» instead of «old» «word»."""
    joined: list[tuple[str, str]] = []
    gone = new = ""
    for index, (kind, text) in enumerate(steps):
        if kind == REMOVED:
            gone += text
        elif kind == ADDED:
            new += text
        elif text == " " and (gone or new) and index + 1 < len(steps):
            gone, new = gone + text, new + text
        else:
            joined += [(REMOVED, gone), (ADDED, new), (SAME, text)]
            gone = new = ""
    return [*joined, (REMOVED, gone), (ADDED, new)]


def _pieces(steps: Any) -> Iterator[DiffPiece]:
    return (DiffPiece(kind, text) for kind, text in steps if text)


def _button(button: Button) -> Hashable:
    return button.kind, button.text, button.url, button.phone_number, _without_examples(button.extra)


def _without_examples(text: str) -> str:
    """JSON without its samples, which for media are links that change with every look."""
    return json.dumps(_stripped(json.loads(text)), sort_keys=True) if text else ""


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key != "example"}
    return [_stripped(item) for item in value] if isinstance(value, list) else value
