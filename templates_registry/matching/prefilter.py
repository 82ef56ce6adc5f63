"""Finds, among the patterns of thousands of templates, the few that a text is worth reading as.

A shelf holds the patterns with one number of line ends: a legal value has none, so a text with three is looked
for on the shelf of three. There they stand by first part, then by last part: both are looked up, by length, as
the text's own beginning and end. Where many share both («Здравствуйте, …», «… Спасибо!»), each stands under the
rarest five letters of its inner parts, which the text must contain somewhere. What is left is tried with
``Pattern.fits``. Nothing here depends on the order in which templates came.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain

from .patterns import MatchPattern, ValueSpans, WorkBudget

GRAM_LENGTH = 5
MAX_UNINDEXED = 8  # so few are tried one by one


class TextProbe:
    """A folded text being looked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def grams(self) -> frozenset[str]:
        text = self.text
        return frozenset([text[at : at + GRAM_LENGTH] for at in range(len(text) - GRAM_LENGTH + 1)])


class LineCountIndex:
    """The patterns with one number of line ends."""

    def __init__(self, patterns: Iterable[MatchPattern], rarest: Mapping[MatchPattern, str]) -> None:
        sorted_out: dict[str, dict[str, list[MatchPattern]]] = defaultdict(lambda: defaultdict(list))
        self._whole: dict[str, list[MatchPattern]] = defaultdict(list)  # no variable at all
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

    def search(self, probe: TextProbe, meter: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        """Each pattern that fits, with its leftmost reading."""
        text = probe.text
        for pattern in self._whole.get(text, ()):
            yield pattern, ()
        for length in self._first_lengths:
            if length >= len(text):
                break
            endings = self._by_first.get(text[:length])
            if endings is not None:
                yield from endings.search(probe, meter)


class EndingIndex:
    """The patterns that begin alike, by their last part."""

    def __init__(self, rows: dict[str, GramIndex]) -> None:
        self._rows = rows
        self._lengths = sorted({len(last) for last in rows})

    def search(self, probe: TextProbe, meter: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        text = probe.text
        meter.spend(len(self._lengths))
        for length in self._lengths:
            if length >= len(text):
                return
            row = self._rows.get(text[len(text) - length :])
            if row is not None:
                yield from row.search(probe, meter)


class GramIndex:
    """The patterns that begin and end alike."""

    def __init__(self, patterns: list[MatchPattern], rarest: Mapping[MatchPattern, str]) -> None:
        self._always: list[MatchPattern] = []
        self._by_gram: dict[str, list[MatchPattern]] = defaultdict(list)
        for pattern in patterns:
            gram = rarest[pattern] if len(patterns) > MAX_UNINDEXED else ""
            (self._by_gram[gram] if gram else self._always).append(pattern)

    def search(self, probe: TextProbe, meter: WorkBudget) -> Iterator[tuple[MatchPattern, ValueSpans]]:
        yield from _fitting(self._always, probe, meter)
        if self._by_gram:
            for gram in sorted(self._by_gram.keys() & probe.grams):
                yield from _fitting(self._by_gram[gram], probe, meter)


def build_line_count_indexes(patterns: Iterable[MatchPattern]) -> dict[int, LineCountIndex]:
    """All patterns, by their number of line ends."""
    by_newlines: dict[int, list[MatchPattern]] = defaultdict(list)
    grams: dict[MatchPattern, set[str]] = {}
    for pattern in patterns:
        by_newlines[pattern.newlines].append(pattern)
        grams[pattern] = collect_grams(pattern)
    rarity = Counter(chain.from_iterable(grams.values()))
    rarest = {pattern: min(own, key=lambda one: (rarity[one], one), default="") for pattern, own in grams.items()}
    return {newlines: LineCountIndex(found, rarest) for newlines, found in sorted(by_newlines.items())}


def collect_grams(pattern: MatchPattern) -> set[str]:
    """Five letters from the beginning of each word of the inner parts; where words are too short, any five."""
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
    patterns: list[MatchPattern], probe: TextProbe, meter: WorkBudget
) -> Iterator[tuple[MatchPattern, ValueSpans]]:
    for pattern in patterns:
        meter.spend(len(pattern.keys))
        cuts = pattern.fits(probe.text)
        if cuts is not None:
            yield pattern, cuts
