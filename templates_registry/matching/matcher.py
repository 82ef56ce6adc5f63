"""Matching of pasted text: the template and its values, or the reason why there is none. Never a guess.

    index = MatchIndex([IndexEntry(template), …])    built once per account and registry version; immutable
    index.recognize(text).outcome                    template | ambiguous | near_miss | not_ready | none

The whole text must match: fixed parts exactly after normalization, and one value for a variable that occurs twice. The
text is the body, with or without its header and footer. The outcome is "ambiguous" if two templates match, or one
in two ways; "not_ready" if a template matches but a value cannot be sent; "near_miss", with the differing words, if
only a similar template exists. ``WorkBudget`` bounds the work for any text. The inverse is ``content.rendering``.
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

MAX_LENGTH = 4096  # characters; WhatsApp accepts no longer text, and no template renders to as many
WORK_LIMIT = 40_000  # budget steps for one text, about 10 ms: see tests/load/bench_matching.py
READING_COST = 24  # budget steps for reading one pattern, and again for each of its variables
MAX_CANDIDATES = 10  # listed in an ambiguous result
MIN_FIXED_SHARE = 0.2  # of the text; a pattern with less fixed text does not explain an illegal value

Values = dict[str, str]


@dataclass
class _Match:
    """An entry that matches the text, with at most two readings of its values."""

    entry: IndexEntry
    readings: list[Values]


class MatchIndex:
    """Index of all template texts of one account. Immutable: build a new one when the registry changes."""

    def __init__(self, entries: Iterable[IndexEntry]) -> None:
        self.entries = tuple(entries)
        owners: dict[MatchPattern, list[IndexEntry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda one: one.rank):
            for pattern in compile_patterns(entry.template):
                owners[pattern].append(entry)
        self._owners = dict(owners)
        self._line_count_indexes: dict[int, LineCountIndex] = build_line_count_indexes(self._owners)
        self._present = {entry.identity: entry for entry in self.entries if not entry.previous}
        self._sendable = [entry for entry in self.entries if entry.rank is EntryRank.CURRENT]
        self._words = WordIndex([compile_patterns(entry.template) for entry in self._sendable])

    def recognize(self, raw: str, *, budget: WorkBudget | None = None) -> MatchResult:
        """Match a text as the operator pasted it."""
        if len(raw) > MAX_LENGTH:
            return MatchResult(MatchOutcome.NONE, "longer_than_any", {"limit": MAX_LENGTH})
        text = normalize_text(raw)
        if not text.text:
            return MatchResult(MatchOutcome.NONE, "no_text")
        probe = TextProbe(text.text)
        try:
            matches, illegal = self._read(text, probe, budget or WorkBudget(WORK_LIMIT))
        except WorkBudgetExceeded:
            return MatchResult(MatchOutcome.AMBIGUOUS, "too_intricate")
        if matches:
            return self._answer_matches(matches, text)
        illegal = illegal or self._read_with_line_ends(text, probe)
        return illegal or self._find_near_miss(text)

    def _read(
        self, text: NormalizedText, probe: TextProbe, budget: WorkBudget
    ) -> tuple[list[_Match], MatchResult | None]:
        """Return all matches, or else the result for a template that matches except for illegal values."""
        matches: dict[EntryRank, dict[Hashable, _Match]] = {rank: {} for rank in EntryRank}
        illegal: list[tuple[MatchPattern, ValueSpans]] = []
        line_index = self._line_count_indexes.get(text.newlines)
        for pattern, spans in line_index.search(probe, budget) if line_index else ():
            budget.spend(READING_COST * (1 + len(pattern.keys)))
            readings = [_cut_values(pattern, one, text) for one in islice(pattern.readings(text, budget), 2)]
            if not readings:
                illegal.append((pattern, spans))
            for entry in self._owners[pattern] if readings else ():
                if len(matches[entry.rank]) > MAX_CANDIDATES:
                    break  # owners are sorted by rank: further ones would not be listed
                match = matches[entry.rank].setdefault(entry.identity, _Match(entry, []))
                match.readings += [one for one in readings if one not in match.readings]
            if len(matches[EntryRank.CURRENT]) > MAX_CANDIDATES:
                break
        for rank in EntryRank:
            if matches[rank]:
                return list(matches[rank].values()), None
        return [], self._answer_illegal(illegal, text)

    def _read_with_line_ends(self, text: NormalizedText, probe: TextProbe) -> MatchResult | None:
        """Look for a template with fewer line ends than the text, whose values then have line ends."""
        illegal: list[tuple[MatchPattern, ValueSpans]] = []
        budget = WorkBudget(WORK_LIMIT // 4)
        try:
            for newlines, line_index in self._line_count_indexes.items():
                if newlines < text.newlines:
                    illegal += line_index.search(probe, budget)
        except WorkBudgetExceeded:
            pass  # the patterns found so far suffice
        return self._answer_illegal(illegal, text)

    def _answer_illegal(
        self, illegal: list[tuple[MatchPattern, ValueSpans]], text: NormalizedText
    ) -> MatchResult | None:
        """Return the result for the pattern with the most fixed text among those that match except for values."""
        found = [
            (self._owners[pattern][0].rank, -pattern.fixed_length, number, pattern, spans)
            for number, (pattern, spans) in enumerate(illegal)
            if pattern.fixed_length >= MIN_FIXED_SHARE * len(text.text)
        ]
        if not found:
            return None
        *_, pattern, spans = min(found)
        entry = self._owners[pattern][0]
        code, details = _explain_illegal_value(entry, pattern, spans, text)
        values = _keep_filled(entry.template, _cut_values(pattern, spans, text))
        present = self._present.get(entry.identity, entry)
        return build_result(MatchOutcome.NOT_READY, code, present, details, parameters=values, retired=entry.previous)

    def _answer_matches(self, matches: list[_Match], text: NormalizedText) -> MatchResult:
        if len(matches) > 1:
            entries = tuple(match.entry for match in matches[:MAX_CANDIDATES])
            names = ", ".join(f"{entry.template.name} ({entry.template.language})" for entry in entries)
            return MatchResult(MatchOutcome.AMBIGUOUS, "several_templates", {"names": names}, candidates=entries)
        entry, readings = matches[0].entry, matches[0].readings
        if entry.previous:
            return self._answer_previous(entry, readings[0] if len(readings) == 1 else {}, text)
        if len(readings) > 1:
            return build_result(MatchOutcome.AMBIGUOUS, "several_readings", entry, readings=tuple(readings[:2]))
        if entry.unsendable_reason:
            return _answer_unsendable(entry, readings[0])
        return _answer_ready(entry, readings[0])

    def _answer_previous(self, previous: IndexEntry, values: Values, text: NormalizedText) -> MatchResult:
        """Answer for an earlier version of a template: offer the present text with the values that it shares."""
        entry = self._present.get(previous.identity)
        if entry is None:
            return build_result(MatchOutcome.NOT_READY, "withdrawn_text", previous, parameters=values, retired=True)
        known = {v.key: values[v.key] for v in entry.template.variables if v.key in values}
        if entry.unsendable_reason:
            return _answer_unsendable(entry, known, retired=True)
        tokens = tokenize_text(text.text)
        compared = [compare_words(0, pattern, text, tokens) for pattern in compile_patterns(entry.template)]
        closest = max(compared, key=lambda one: one.closeness)
        return build_result(
            MatchOutcome.NEAR_MISS,
            "previous_text",
            entry,
            parameters=known,
            difference=closest.differences,
            retired=True,
        )

    def _find_near_miss(self, text: NormalizedText) -> MatchResult:
        nearest = self._words.closest(text)
        if nearest is None:
            return MatchResult(MatchOutcome.NONE, "nothing_fits")
        entry = self._sendable[nearest.owner]
        values = _keep_filled(entry.template, nearest.values)
        if not nearest.differences:
            title = entry.template.variable_title(nearest.empty[0])
            return build_result(MatchOutcome.NOT_READY, "empty", entry, {"title": title}, parameters=values)
        first, count = nearest.differences[0], len(nearest.differences)
        details: Details = {"approved": first.approved, "yours": first.yours, "count": count}
        code = "one_difference" if count == 1 else "differences"
        return build_result(
            MatchOutcome.NEAR_MISS, code, entry, details, parameters=values, difference=nearest.differences
        )


def _answer_ready(entry: IndexEntry, values: Values) -> MatchResult:
    """Answer for exactly one template with one reading: ready, or the first problem with it."""
    template = entry.template
    full = apply_defaults(template, values)
    for variable in template.variables:
        if variable.key not in full and variable.is_required and (variable.in_text or not entry.text_only):
            details: Details = {"title": variable_title(template, variable)}
            return build_result(MatchOutcome.NOT_READY, "not_carried", entry, details, parameters=full)
    for problem in render(template, full, text_only=entry.text_only).problems:
        if problem.level is Level.ERROR:
            known = _keep_filled(template, full)
            return build_result(MatchOutcome.NOT_READY, problem.code, entry, dict(problem.details), parameters=known)
    return build_result(MatchOutcome.TEMPLATE, "recognized", entry, parameters=full)


def _answer_unsendable(entry: IndexEntry, values: Values, *, retired: bool = False) -> MatchResult:
    details: Details = {"why": entry.unsendable_reason}
    return build_result(MatchOutcome.NOT_READY, "not_sendable", entry, details, parameters=values, retired=retired)


def _explain_illegal_value(
    entry: IndexEntry, pattern: MatchPattern, spans: ValueSpans, text: NormalizedText
) -> tuple[str, Details]:
    """Return the code and details of the first illegal value."""
    seen: dict[str, str] = {}
    details: Details = {}
    for key, (begin, end) in zip(pattern.keys, spans, strict=True):
        details = {"title": entry.template.variable_title(key), "placeholder": add_braces(placeholder_name(key))}
        if any(name == placeholder_name(key) and begin <= at < end for name, at, _ in text.unfilled):
            return "placeholder", details
        if code := check_text_value(text.value(begin, end)):
            return code, details
        if seen.setdefault(key, text.text[begin:end]) != text.text[begin:end]:
            return "values_differ", details
    return "placeholder", details  # a value ends inside a {{…}}


def _cut_values(pattern: MatchPattern, spans: ValueSpans, text: NormalizedText) -> Values:
    values: Values = {}
    for key, (begin, end) in zip(pattern.keys, spans, strict=True):
        values.setdefault(key, text.value(begin, end))
    return values


def _keep_filled(template: TemplateDefinition, values: Values) -> Values:
    """Return the values worth keeping in the form: neither blank nor unfilled placeholders."""
    return {key: value for key, value in values.items() if value.strip() and not _is_unfilled(template, key, value)}


def _is_unfilled(template: TemplateDefinition, key: str, value: str) -> bool:
    variable = template.variable(key)
    return bool(find_leftover(template, variable, value) if variable else PLACEHOLDER.fullmatch(value.strip()))
