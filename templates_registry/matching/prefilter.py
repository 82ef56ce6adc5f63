"""Prefilter index: selects the few patterns among thousands that are worth reading for a text.

Three levels. Values have no line ends, so ``LineCountIndex`` groups patterns by number of line ends. Within a group,
first and last parts are looked up as prefix and suffix of the text, by length (``EndingIndex``). Where many patterns
share both («Здравствуйте, …», «… Спасибо!»), ``GramIndex`` files each under the rarest five letters of its inner parts,
which the text must contain. ``MatchPattern.fits`` checks the rest. Results do not depend on the order of templates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain

from .patterns import MatchPattern, ValueSpans, WorkBudget

GRAM_LENGTH = 5
MAX_UNINDEXED = 8  # up to this many patterns are checked one by one


class TextProbe:
    """A normalized text to look up, with its grams."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def grams(self) -> frozenset[str]:
        text = self.text
        return frozenset([text[at : at + GRAM_LENGTH] for at in range(len(text) - GRAM_LENGTH + 1)])


class LineCountIndex:
    """Patterns with equally many line ends, by first part."""

    def __init__(self, patterns: Iterable[MatchPattern], rarest: Mapping[MatchPattern, str]) -> None:
        sorted_out: dict[str, dict[str, list[MatchPattern]]] = defaultdict(lambda: defaultdict(list))
        self._whole: dict[str, list[MatchPattern]] = defaultdict(list)  # patterns without variables
        for pattern in patterns:
            if pattern.keys:
                sorted_out[pattern.parts[0]][pattern.parts[-1]].append(pattern)
            else:
                self._whole[pattern.parts[0]].append(pattern)
        self._by_first = {
            first: EndingIndex({last: GramIndex(found, rarest) for last, found in by_last.items()})
            for first, by_last in sorted_out.items()
        }
        self._first_lengths = sorted({len(first) for first in self._by_first})

    def search(self, probe: TextProbe, budget: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        """Yield each pattern that fits, with its leftmost reading."""
        text = probe.text
        for pattern in self._whole.get(text, ()):
            yield pattern, ()
        for length in self._first_lengths:
            if length >= len(text):
                break
            endings = self._by_first.get(text[:length])
            if endings is not None:
                yield from endings.search(probe, budget)


class EndingIndex:
    """Patterns with the same first part, by last part."""

    def __init__(self, rows: dict[str, GramIndex]) -> None:
        self._rows = rows
        self._lengths = sorted({len(last) for last in rows})

    def search(self, probe: TextProbe, budget: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        text = probe.text
        budget.spend(len(self._lengths))
        for length in self._lengths:
            if length >= len(text):
                return
            row = self._rows.get(text[len(text) - length :])
            if row is not None:
                yield from row.search(probe, budget)


class GramIndex:
    """Patterns with the same first and last part, by their rarest gram."""

    def __init__(self, patterns: list[MatchPattern], rarest: Mapping[MatchPattern, str]) -> None:
        self._always: list[MatchPattern] = []
        self._by_gram: dict[str, list[MatchPattern]] = defaultdict(list)
        for pattern in patterns:
            gram = rarest[pattern] if len(patterns) > MAX_UNINDEXED else ""
            (self._by_gram[gram] if gram else self._always).append(pattern)

    def search(self, probe: TextProbe, budget: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        yield from _fitting(self._always, probe, budget)
        if self._by_gram:
            for gram in sorted(self._by_gram.keys() & probe.grams):
                yield from _fitting(self._by_gram[gram], probe, budget)


def build_line_count_indexes(patterns: Iterable[MatchPattern]) -> dict[int, LineCountIndex]:
    """Index all patterns by their number of line ends."""
    by_newlines: dict[int, list[MatchPattern]] = defaultdict(list)
    grams: dict[MatchPattern, set[str]] = {}
    for pattern in patterns:
        by_newlines[pattern.newlines].append(pattern)
        grams[pattern] = collect_grams(pattern)
    rarity = Counter(chain.from_iterable(grams.values()))
    rarest = {pattern: min(own, key=lambda one: (rarity[one], one), default="") for pattern, own in grams.items()}
    return {newlines: LineCountIndex(found, rarest) for newlines, found in sorted(by_newlines.items())}


def collect_grams(pattern: MatchPattern) -> set[str]:
    """Return five letters from the beginning of each word of the inner parts, or any five if words are too short."""
    found: set[str] = set()
    for part in pattern.parts[1:-1]:
        at = part.find(" ") + 1
        while 0 < at <= len(part) - GRAM_LENGTH:
            found.add(part[at : at + GRAM_LENGTH])
            at = part.find(" ", at) + 1
    if not found:
        for part in pattern.parts[1:-1]:
            found.update(part[at : at + GRAM_LENGTH] for at in range(len(part) - GRAM_LENGTH + 1))
    return found


def _fitting(
    patterns: list[MatchPattern], probe: TextProbe, budget: WorkBudget
) -> Iterator[tuple[MatchPattern, ValueSpans]]:
    for pattern in patterns:
        budget.spend(len(pattern.keys))
        spans = pattern.fits(probe.text)
        if spans is not None:
            yield pattern, spans
