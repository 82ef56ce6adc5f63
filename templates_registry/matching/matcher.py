"""The inverse of rendering: a pasted text -> the template and its values, or why not. Never a guess.

    index = Index([Entry(template), …])         once per account and version of its registry; never changed after
    index.recognise(text).outcome               template | ambiguous | near_miss | not_ready | none

The whole text must fit: fixed parts exactly, once both are normalised; a variable that stands twice has one value;
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

from templates_registry.content.components import HOLE, Level, Template, braced
from templates_registry.content.normalization import Normalised, normalise
from templates_registry.content.rendering import render, value_problem, with_defaults
from templates_registry.content.titles import title_of
from templates_registry.content.unfilled import placeholder_in

from .explain import lay_beside, tokens_of
from .nearest import Words
from .patterns import Cuts, Meter, Pattern, TooMuch, name_of, patterns_of
from .prefilter import Probe, Shelf, shelve
from .result import Entry, Outcome, Rank, Recognition, about

if TYPE_CHECKING:
    from .result import Details

LONGEST = 4096  # characters of a paste; WhatsApp takes no longer text, and no template renders to as much
STEPS = 40_000  # of work for one text, some 10 ms: see tests/load/bench_matching.py
READING = 24  # steps for reading one pattern, and as much again for each of its variables
CANDIDATES = 10  # named at most
LITTLE_FIXED = 0.2  # with less fixed text than this share, a pattern is no explanation for a text it does not fit

Values = dict[str, str]


@dataclass
class _Match:
    """One entry that fits the text, and two at most of the ways to read its values."""

    entry: Entry
    readings: list[Values]


class Index:
    """All texts of one account. Immutable: build a new one when the registry changes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        owners: dict[Pattern, list[Entry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda one: one.rank):
            for pattern in patterns_of(entry.template):
                owners[pattern].append(entry)
        self._owners = dict(owners)
        self._shelves: dict[int, Shelf] = shelve(self._owners)
        self._present = {entry.identity: entry for entry in self.entries if not entry.previous}
        self._sendable = [entry for entry in self.entries if entry.rank is Rank.CURRENT]
        self._words = Words([patterns_of(entry.template) for entry in self._sendable])

    def recognise(self, raw: str, *, meter: Meter | None = None) -> Recognition:
        if len(raw) > LONGEST:
            return Recognition(Outcome.NONE, "longer_than_any", {"limit": LONGEST})
        text = normalise(raw)
        if not text.text:
            return Recognition(Outcome.NONE, "no_text")
        probe = Probe(text.text)
        try:
            matches, broken = self._read(text, probe, meter or Meter(STEPS))
        except TooMuch:
            return Recognition(Outcome.AMBIGUOUS, "too_intricate")
        if matches:
            return self._decide(matches, text)
        broken = broken or self._read_over_lines(text, probe)
        return broken or self._nearly(text)

    def _read(self, text: Normalised, probe: Probe, meter: Meter) -> tuple[list[_Match], Recognition | None]:
        """All that the text can be; failing that, what it would be if its values were legal."""
        matches: dict[Rank, dict[Hashable, _Match]] = {rank: {} for rank in Rank}
        broken: list[tuple[Pattern, Cuts]] = []
        shelf = self._shelves.get(text.newlines)
        for pattern, cuts in shelf.search(probe, meter) if shelf else ():
            meter.spend(READING * (1 + len(pattern.keys)))
            readings = [_values(pattern, one, text) for one in islice(pattern.readings(text, meter), 2)]
            if not readings:
                broken.append((pattern, cuts))
            for entry in self._owners[pattern] if readings else ():
                if len(matches[entry.rank]) > CANDIDATES:
                    break  # owners are sorted by rank, so the rest adds nothing
                match = matches[entry.rank].setdefault(entry.identity, _Match(entry, []))
                match.readings += [one for one in readings if one not in match.readings]
            if len(matches[Rank.CURRENT]) > CANDIDATES:
                break
        for rank in Rank:
            if matches[rank]:
                return list(matches[rank].values()), None
        return [], self._not_ready(broken, text)

    def _read_over_lines(self, text: Normalised, probe: Probe) -> Recognition | None:
        """The text has more line ends than a template: are they in its values?"""
        broken: list[tuple[Pattern, Cuts]] = []
        meter = Meter(STEPS // 4)
        try:
            for newlines, shelf in self._shelves.items():
                if newlines < text.newlines:
                    broken += shelf.search(probe, meter)
        except TooMuch:
            pass  # enough of them are found to name the best
        return self._not_ready(broken, text)

    def _not_ready(self, broken: list[tuple[Pattern, Cuts]], text: Normalised) -> Recognition | None:
        """Of the patterns that fit but for their values, the one with the most fixed text explains the text best."""
        found = [
            (self._owners[pattern][0].rank, -pattern.fixed_length, number, pattern, cuts)
            for number, (pattern, cuts) in enumerate(broken)
            if pattern.fixed_length >= LITTLE_FIXED * len(text.text)
        ]
        if not found:
            return None
        *_, pattern, cuts = min(found)
        entry = self._owners[pattern][0]
        code, details = _why_broken(entry, pattern, cuts, text)
        values = _taken_over(entry.template, _values(pattern, cuts, text))
        present = self._present.get(entry.identity, entry)
        return about(Outcome.NOT_READY, code, present, details, parameters=values, retired=entry.previous)

    def _decide(self, matches: list[_Match], text: Normalised) -> Recognition:
        if len(matches) > 1:
            entries = tuple(match.entry for match in matches[:CANDIDATES])
            names = ", ".join(f"{entry.template.name} ({entry.template.language})" for entry in entries)
            return Recognition(Outcome.AMBIGUOUS, "several_templates", {"names": names}, candidates=entries)
        entry, readings = matches[0].entry, matches[0].readings
        if entry.previous:
            return self._retired(entry, readings[0] if len(readings) == 1 else {}, text)
        if len(readings) > 1:
            return about(Outcome.AMBIGUOUS, "several_readings", entry, readings=tuple(readings[:2]))
        if entry.asleep:
            return _asleep(entry, readings[0])
        return _ready(entry, readings[0])

    def _retired(self, previous: Entry, values: Values, text: Normalised) -> Recognition:
        """The text is an earlier one: name the present one, and take over the values that it has too."""
        entry = self._present.get(previous.identity)
        if entry is None:
            return about(Outcome.NOT_READY, "withdrawn_text", previous, parameters=values, retired=True)
        kept = {v.key: values[v.key] for v in entry.template.variables if v.key in values}
        if entry.asleep:
            return _asleep(entry, kept, retired=True)
        tokens = tokens_of(text.text)
        laid = [lay_beside(0, pattern, text, tokens) for pattern in patterns_of(entry.template)]
        closest = max(laid, key=lambda one: one.closeness)
        return about(
            Outcome.NEAR_MISS,
            "previous_text",
            entry,
            parameters=kept,
            difference=closest.differences,
            retired=True,
        )

    def _nearly(self, text: Normalised) -> Recognition:
        near = self._words.closest(text)
        if near is None:
            return Recognition(Outcome.NONE, "nothing_fits")
        entry = self._sendable[near.owner]
        values = _taken_over(entry.template, near.values)
        if not near.differences:
            title = entry.template.title_of(near.empty[0])
            return about(Outcome.NOT_READY, "empty", entry, {"title": title}, parameters=values)
        first, count = near.differences[0], len(near.differences)
        details: Details = {"approved": first.approved, "yours": first.yours, "count": count}
        code = "one_difference" if count == 1 else "differences"
        return about(Outcome.NEAR_MISS, code, entry, details, parameters=values, difference=near.differences)


def _ready(entry: Entry, values: Values) -> Recognition:
    """Exactly one template, exactly one reading: may it go out as it is?"""
    template = entry.template
    full = with_defaults(template, values)
    for variable in template.variables:
        if variable.key not in full and variable.is_required and (variable.in_text or not entry.text_only):
            details: Details = {"title": title_of(template, variable)}
            return about(Outcome.NOT_READY, "not_carried", entry, details, parameters=full)
    for problem in render(template, full, text_only=entry.text_only).problems:
        if problem.level is Level.ERROR:
            kept = _taken_over(template, full)
            return about(Outcome.NOT_READY, problem.code, entry, dict(problem.details), parameters=kept)
    return about(Outcome.TEMPLATE, "recognised", entry, parameters=full)


def _asleep(entry: Entry, values: Values, *, retired: bool = False) -> Recognition:
    details: Details = {"why": entry.asleep}
    return about(Outcome.NOT_READY, "not_sendable", entry, details, parameters=values, retired=retired)


def _why_broken(entry: Entry, pattern: Pattern, cuts: Cuts, text: Normalised) -> tuple[str, Details]:
    """Why the first of the values that may not go out may not."""
    seen: dict[str, str] = {}
    details: Details = {}
    for key, (begin, end) in zip(pattern.keys, cuts, strict=True):
        details = {"title": entry.template.title_of(key), "placeholder": braced(name_of(key))}
        if any(name == name_of(key) and begin <= at < end for name, at, _ in text.unfilled):
            return "placeholder", details
        if code := value_problem(text.value(begin, end)):
            return code, details
        if seen.setdefault(key, text.text[begin:end]) != text.text[begin:end]:
            return "values_differ", details
    return "placeholder", details  # one of them ends within a {{…}}


def _values(pattern: Pattern, cuts: Cuts, text: Normalised) -> Values:
    values: Values = {}
    for key, (begin, end) in zip(pattern.keys, cuts, strict=True):
        values.setdefault(key, text.value(begin, end))
    return values


def _taken_over(template: Template, values: Values) -> Values:
    """What is worth keeping when the operator goes on in the form."""
    return {key: value for key, value in values.items() if value.strip() and not _is_unfilled(template, key, value)}


def _is_unfilled(template: Template, key: str, value: str) -> bool:
    variable = template.variable(key)
    return bool(placeholder_in(template, variable, value) if variable else HOLE.fullmatch(value.strip()))
