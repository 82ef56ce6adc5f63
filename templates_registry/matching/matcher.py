"""The inverse of rendering: a pasted text -> the template and its values, or why not. Never a guess.

    index = Index([Entry(template), …])         once per account and version of its registry; never changed after
    index.recognize(text).outcome               template | ambiguous | near_miss | not_ready | none

The whole text must fit: fixed parts exactly, once both are normalized; a variable that stands twice has one value;
header, body and footer in one paste, or the body without either. If two templates fit, or one in two ways, the
answer is "ambiguous", with the candidates. If a template fits but a value may not go out as it is, "not ready". If
none fits, the closest is named with the words that differ. Work is bounded for any text (``Meter``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from templates_registry.content.components import PLACEHOLDER, Level, TemplateDefinition, add_braces
from templates_registry.content.leftover_placeholders import find_leftover
from templates_registry.content.normalization import NormalizedText, normalize_text
from templates_registry.content.rendering import apply_defaults, check_text_value, render
from templates_registry.content.titles import variable_title

from .nearest import WordIndex
from .patterns import MatchPattern, ValueSpans, WorkBudget, WorkBudgetExceeded, compile_patterns, placeholder_name
from .prefilter import LineCountIndex, TextProbe, build_line_count_indexes
from .result import EntryRank, IndexEntry, MatchOutcome, MatchResult, build_result
from .word_comparison import compare_words, tokenize_text

if TYPE_CHECKING:
    from .result import Details

MAX_LENGTH = 4096  # characters of a paste; WhatsApp takes no longer text, and no template renders to as much
WORK_LIMIT = 40_000  # of work for one text, some 10 ms: see tests/load/bench_matching.py
READING_COST = 24  # steps for reading one pattern, and as much again for each of its variables
MAX_CANDIDATES = 10  # named at most
MIN_FIXED_SHARE = 0.2  # with less fixed text than this share, a pattern is no explanation for a text it does not fit

Values = dict[str, str]


@dataclass
class _Match:
    """One entry that fits the text, and two at most of the ways to read its values."""

    entry: IndexEntry
    readings: list[Values]


class MatchIndex:
    """All texts of one account. Immutable: build a new one when the registry changes."""

    def __init__(self, entries: Iterable[IndexEntry]) -> None:
        self.entries = tuple(entries)
        owners: dict[MatchPattern, list[IndexEntry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda one: one.rank):
            for pattern in compile_patterns(entry.template):
                owners[pattern].append(entry)
        self._owners = dict(owners)
        self._shelves: dict[int, LineCountIndex] = build_line_count_indexes(self._owners)
        self._present = {entry.identity: entry for entry in self.entries if not entry.previous}
        self._sendable = [entry for entry in self.entries if entry.rank is EntryRank.CURRENT]
        self._words = WordIndex([compile_patterns(entry.template) for entry in self._sendable])

    def recognize(self, raw: str, *, meter: WorkBudget | None = None) -> MatchResult:
        if len(raw) > MAX_LENGTH:
            return MatchResult(MatchOutcome.NONE, "longer_than_any", {"limit": MAX_LENGTH})
        text = normalize_text(raw)
        if not text.text:
            return MatchResult(MatchOutcome.NONE, "no_text")
        probe = TextProbe(text.text)
        try:
            matches, broken = self._read(text, probe, meter or WorkBudget(WORK_LIMIT))
        except WorkBudgetExceeded:
            return MatchResult(MatchOutcome.AMBIGUOUS, "too_intricate")
        if matches:
            return self._decide(matches, text)
        broken = broken or self._read_over_lines(text, probe)
        return broken or self._nearly(text)

    def _read(
        self, text: NormalizedText, probe: TextProbe, meter: WorkBudget
    ) -> tuple[list[_Match], MatchResult | None]:
        """All that the text can be; failing that, what it would be if its values were legal."""
        matches: dict[EntryRank, dict[Hashable, _Match]] = {rank: {} for rank in EntryRank}
        broken: list[tuple[MatchPattern, ValueSpans]] = []
        shelf = self._shelves.get(text.newlines)
        for pattern, cuts in shelf.search(probe, meter) if shelf else ():
            meter.spend(READING_COST * (1 + len(pattern.keys)))
            readings = [_values(pattern, one, text) for one in islice(pattern.readings(text, meter), 2)]
            if not readings:
                broken.append((pattern, cuts))
            for entry in self._owners[pattern] if readings else ():
                if len(matches[entry.rank]) > MAX_CANDIDATES:
                    break  # owners are sorted by rank, so the rest adds nothing
                match = matches[entry.rank].setdefault(entry.identity, _Match(entry, []))
                match.readings += [one for one in readings if one not in match.readings]
            if len(matches[EntryRank.CURRENT]) > MAX_CANDIDATES:
                break
        for rank in EntryRank:
            if matches[rank]:
                return list(matches[rank].values()), None
        return [], self._not_ready(broken, text)

    def _read_over_lines(self, text: NormalizedText, probe: TextProbe) -> MatchResult | None:
        """The text has more line ends than a template: are they in its values?"""
        broken: list[tuple[MatchPattern, ValueSpans]] = []
        meter = WorkBudget(WORK_LIMIT // 4)
        try:
            for newlines, shelf in self._shelves.items():
                if newlines < text.newlines:
                    broken += shelf.search(probe, meter)
        except WorkBudgetExceeded:
            pass  # enough of them are found to name the best
        return self._not_ready(broken, text)

    def _not_ready(self, broken: list[tuple[MatchPattern, ValueSpans]], text: NormalizedText) -> MatchResult | None:
        """Of the patterns that fit but for their values, the one with the most fixed text explains the text best."""
        found = [
            (self._owners[pattern][0].rank, -pattern.fixed_length, number, pattern, cuts)
            for number, (pattern, cuts) in enumerate(broken)
            if pattern.fixed_length >= MIN_FIXED_SHARE * len(text.text)
        ]
        if not found:
            return None
        *_, pattern, cuts = min(found)
        entry = self._owners[pattern][0]
        code, details = _why_broken(entry, pattern, cuts, text)
        values = _taken_over(entry.template, _values(pattern, cuts, text))
        present = self._present.get(entry.identity, entry)
        return build_result(MatchOutcome.NOT_READY, code, present, details, parameters=values, retired=entry.previous)

    def _decide(self, matches: list[_Match], text: NormalizedText) -> MatchResult:
        if len(matches) > 1:
            entries = tuple(match.entry for match in matches[:MAX_CANDIDATES])
            names = ", ".join(f"{entry.template.name} ({entry.template.language})" for entry in entries)
            return MatchResult(MatchOutcome.AMBIGUOUS, "several_templates", {"names": names}, candidates=entries)
        entry, readings = matches[0].entry, matches[0].readings
        if entry.previous:
            return self._retired(entry, readings[0] if len(readings) == 1 else {}, text)
        if len(readings) > 1:
            return build_result(MatchOutcome.AMBIGUOUS, "several_readings", entry, readings=tuple(readings[:2]))
        if entry.asleep:
            return _asleep(entry, readings[0])
        return _ready(entry, readings[0])

    def _retired(self, previous: IndexEntry, values: Values, text: NormalizedText) -> MatchResult:
        """The text is an earlier one: name the present one, and take over the values that it has too."""
        entry = self._present.get(previous.identity)
        if entry is None:
            return build_result(MatchOutcome.NOT_READY, "withdrawn_text", previous, parameters=values, retired=True)
        kept = {v.key: values[v.key] for v in entry.template.variables if v.key in values}
        if entry.asleep:
            return _asleep(entry, kept, retired=True)
        tokens = tokenize_text(text.text)
        laid = [compare_words(0, pattern, text, tokens) for pattern in compile_patterns(entry.template)]
        closest = max(laid, key=lambda one: one.closeness)
        return build_result(
            MatchOutcome.NEAR_MISS,
            "previous_text",
            entry,
            parameters=kept,
            difference=closest.differences,
            retired=True,
        )

    def _nearly(self, text: NormalizedText) -> MatchResult:
        near = self._words.closest(text)
        if near is None:
            return MatchResult(MatchOutcome.NONE, "nothing_fits")
        entry = self._sendable[near.owner]
        values = _taken_over(entry.template, near.values)
        if not near.differences:
            title = entry.template.title_of(near.empty[0])
            return build_result(MatchOutcome.NOT_READY, "empty", entry, {"title": title}, parameters=values)
        first, count = near.differences[0], len(near.differences)
        details: Details = {"approved": first.approved, "yours": first.yours, "count": count}
        code = "one_difference" if count == 1 else "differences"
        return build_result(
            MatchOutcome.NEAR_MISS, code, entry, details, parameters=values, difference=near.differences
        )


def _ready(entry: IndexEntry, values: Values) -> MatchResult:
    """Exactly one template, exactly one reading: may it go out as it is?"""
    template = entry.template
    full = apply_defaults(template, values)
    for variable in template.variables:
        if variable.key not in full and variable.is_required and (variable.in_text or not entry.text_only):
            details: Details = {"title": variable_title(template, variable)}
            return build_result(MatchOutcome.NOT_READY, "not_carried", entry, details, parameters=full)
    for problem in render(template, full, text_only=entry.text_only).problems:
        if problem.level is Level.ERROR:
            kept = _taken_over(template, full)
            return build_result(MatchOutcome.NOT_READY, problem.code, entry, dict(problem.details), parameters=kept)
    return build_result(MatchOutcome.TEMPLATE, "recognized", entry, parameters=full)


def _asleep(entry: IndexEntry, values: Values, *, retired: bool = False) -> MatchResult:
    details: Details = {"why": entry.asleep}
    return build_result(MatchOutcome.NOT_READY, "not_sendable", entry, details, parameters=values, retired=retired)


def _why_broken(
    entry: IndexEntry, pattern: MatchPattern, cuts: ValueSpans, text: NormalizedText
) -> tuple[str, Details]:
    """Why the first of the values that may not go out may not."""
    seen: dict[str, str] = {}
    details: Details = {}
    for key, (begin, end) in zip(pattern.keys, cuts, strict=True):
        details = {"title": entry.template.title_of(key), "placeholder": add_braces(placeholder_name(key))}
        if any(name == placeholder_name(key) and begin <= at < end for name, at, _ in text.unfilled):
            return "placeholder", details
        if code := check_text_value(text.value(begin, end)):
            return code, details
        if seen.setdefault(key, text.text[begin:end]) != text.text[begin:end]:
            return "values_differ", details
    return "placeholder", details  # one of them ends within a {{…}}


def _values(pattern: MatchPattern, cuts: ValueSpans, text: NormalizedText) -> Values:
    values: Values = {}
    for key, (begin, end) in zip(pattern.keys, cuts, strict=True):
        values.setdefault(key, text.value(begin, end))
    return values


def _taken_over(template: TemplateDefinition, values: Values) -> Values:
    """What is worth keeping when the operator goes on in the form."""
    return {key: value for key, value in values.items() if value.strip() and not _is_unfilled(template, key, value)}


def _is_unfilled(template: TemplateDefinition, key: str, value: str) -> bool:
    variable = template.variable(key)
    return bool(find_leftover(template, variable, value) if variable else PLACEHOLDER.fullmatch(value.strip()))
