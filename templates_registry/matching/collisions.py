"""Collisions: pairs of templates that a single pasted text could match, found before an operator pastes one.

Values have no line ends, so two templates collide only if they have equally many lines that collide in pairs. Two lines
with variables collide whenever their beginnings and ends agree, because the first variable of one can take the whole
middle of the other. Such texts are often contrived. A collision is therefore ``likely`` only if an ordinary text of one
template (with values unrelated to the other) also matches the other, or if one template takes at most a few fixed words
of the other as values.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from templates_registry.content.components import TemplateDefinition
from templates_registry.content.normalization import normalize_text

from .patterns import MatchPattern, WorkBudget, WorkBudgetExceeded, compile_patterns, find_leftmost

ANY_VALUE = "…"
MAX_SWALLOWED_WORDS = 2
MAX_LENGTH = 1200  # characters; templates do not render to longer texts
WORK_LIMIT = 5_000
WORD = re.compile(r"\w+")

LineParts = tuple[str, ...]  # fixed parts of one line, with a variable between each two


@dataclass(frozen=True, slots=True)
class Collision:
    """Two templates, and a text that matches both."""

    first: TemplateDefinition
    second: TemplateDefinition
    text: str
    likely: bool


@dataclass(frozen=True, slots=True)
class _Text:
    owner: int
    pattern: MatchPattern
    lines: tuple[LineParts, ...]
    ordinary: str

    @property
    def beginning(self) -> str:
        return self.lines[0][0]


def find_collisions(templates: Sequence[TemplateDefinition], *, only: int | None = None) -> Iterator[Collision]:
    """Yield all colliding pairs of one account's templates, or only those with the template at index ``only``."""
    found: dict[tuple[int, int], tuple[str, bool]] = {}
    for one, other in _candidates(templates, only):
        pair = min(one.owner, other.owner), max(one.owner, other.owner)
        if pair in found and found[pair][1]:
            continue
        meeting = _meeting(one, other)
        if meeting and (meeting[1] or pair not in found):
            found[pair] = meeting
    for (first, second), (text, likely) in sorted(found.items()):
        yield Collision(templates[first], templates[second], text, likely)


def _candidates(templates: Sequence[TemplateDefinition], only: int | None) -> Iterator[tuple[_Text, _Text]]:
    """Yield pairs with equally many lines whose beginnings agree. Sorting by beginning makes such pairs neighbors."""
    by_lines: dict[int, list[_Text]] = defaultdict(list)
    for owner, template in enumerate(templates):
        for pattern in compile_patterns(template):
            lines = _lines_of(pattern)
            by_lines[len(lines)].append(_Text(owner, pattern, lines, ANY_VALUE.join(pattern.parts)))
    for texts in by_lines.values():
        if only is not None:
            own = [text for text in texts if text.owner == only]
            yield from ((one, other) for one in own for other in texts if other.owner != only)
            continue
        texts.sort(key=lambda text: text.beginning)
        for index, one in enumerate(texts, 1):
            for other in islice(texts, index, None):
                if not other.beginning.startswith(one.beginning):
                    break
                if one.owner != other.owner:
                    yield one, other


@lru_cache(maxsize=50_000)
def _lines_of(pattern: MatchPattern) -> tuple[LineParts, ...]:
    lines: list[list[str]] = [[""]]
    for index, part in enumerate(pattern.parts):
        if index:
            lines[-1].append("")
        first, *further = part.split("\n")
        lines[-1][-1] += first
        lines += [[line] for line in further]
    return tuple(tuple(line) for line in lines)


def _meeting(one: _Text, other: _Text) -> tuple[str, bool] | None:
    """Return a text that matches both, and whether it is likely in practice; None if there is none."""
    for first, second in zip(one.lines, other.lines, strict=True):
        if not _agree(first, second):
            return None
    for text, pattern in ((one.ordinary, other.pattern), (other.ordinary, one.pattern)):
        if _is_text_of(pattern, text):
            return text, True
    pairs = list(zip(one.lines, other.lines, strict=True))
    words = min(
        sum(_swallowed(first, second) for first, second in pairs),
        sum(_swallowed(second, first) for first, second in pairs),
    )
    plain = not one.pattern.repeats and not other.pattern.repeats  # then a text constructed for both matches both
    for turned in (False, True):
        text = "\n".join(_together(second, first) if turned else _together(first, second) for first, second in pairs)
        if len(text) <= MAX_LENGTH and (plain or all(_is_text_of(each.pattern, text) for each in (one, other))):
            return text, words <= MAX_SWALLOWED_WORDS
    return None


def _agree(one: LineParts, other: LineParts) -> bool:
    """Return whether some line matches both. With variables in both, beginnings and ends decide."""
    if len(one) == 1:
        return find_leftmost(other, one[0]) is not None
    if len(other) == 1:
        return find_leftmost(one, other[0]) is not None
    begins = one[0].startswith(other[0]) or other[0].startswith(one[0])
    return begins and (one[-1].endswith(other[-1]) or other[-1].endswith(one[-1]))


def _together(one: LineParts, other: LineParts) -> str:
    """Construct a line that matches both: the middle of one, then the middle of the other."""
    if len(one) == 1 or len(other) == 1:
        return one[0] if len(one) == 1 else other[0]
    longer_begin, longer_end = max(one[0], other[0], key=len), max(one[-1], other[-1], key=len)
    return ANY_VALUE.join([longer_begin, *one[1:-1], *other[1:-1], longer_end])


def _swallowed(one: LineParts, other: LineParts) -> int:
    """Count the fixed words of one line that the other line takes as values."""
    if len(one) == 1 or len(other) == 1:
        return 0
    beginning, end = one[0][len(other[0]) :], one[-1][: max(0, len(one[-1]) - len(other[-1]))]
    return len(WORD.findall(" ".join([beginning, *one[1:-1], end])))


def _is_text_of(pattern: MatchPattern, text: str) -> bool:
    if find_leftmost(pattern.parts, text) is None:
        return False
    try:
        return next(pattern.readings(normalize_text(text), WorkBudget(WORK_LIMIT)), None) is not None
    except WorkBudgetExceeded:
        return True
