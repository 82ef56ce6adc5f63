"""Compiled template texts (fixed parts and variables), and all readings of a pasted text by them.

A pattern with parts P0…Pn and variables V1…Vn reads a whole text as P0 V1 P1 V2 … Vn Pn. A value is legal if it is not
blank and has no line end, tab or run of five spaces. A variable that occurs twice has one value. ``fits`` quickly finds
any reading, legal or not; ``readings`` yields the legal ones. Two of them prove the text ambiguous.

A set of positions in the text is an integer with one bit per position. A single addition finds all positions that a
value can reach: its carry runs along the allowed characters and stops at the first barred one. A pattern thus costs a
few operations per part for any text, without backtracking. Only variables that occur twice need readings tried one by
one, which ``WorkBudget`` bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from templates_registry.content.components import (
    Placeholder,
    TemplateDefinition,
    VariablePlace,
    split_placeholders,
    variable_key,
)
from templates_registry.content.normalization import EDGE_BLANKS, NormalizedText, fold_text

ATTEMPT_COST = 15  # budget steps of one attempt

ValueSpans = tuple[tuple[int, int], ...]  # begin and end of each value, in order
ComponentParts = tuple[tuple[str, ...], tuple[str, ...]]  # parts and keys of one component


class WorkBudgetExceeded(Exception):
    """The text would need more work than is allowed for one paste."""


class WorkBudget:
    """Limit of work for one text. ``spend`` raises WorkBudgetExceeded beyond ``limit`` steps."""

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps
        if self.spent > self.limit:
            raise WorkBudgetExceeded


@dataclass(frozen=True)
class MatchPattern:
    """One text of a template, compiled for matching."""

    parts: tuple[str, ...]  # normalized; one more than there are variables
    keys: tuple[str, ...]  # the variables' keys, in order of appearance

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.parts, self.keys))

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(placeholder_name(key) for key in self.keys)

    @cached_property
    def repeats(self) -> bool:
        """Whether a variable occurs twice."""
        return len(set(self.keys)) < len(self.keys)

    @cached_property
    def newlines(self) -> int:
        return sum(part.count("\n") for part in self.parts)

    @cached_property
    def fixed_length(self) -> int:
        return sum(len(part) for part in self.parts)

    def fits(self, text: str) -> ValueSpans | None:
        """Return the leftmost reading without checking its values; None if there is no reading."""
        return find_leftmost(self.parts, text)

    def readings(self, text: NormalizedText, budget: WorkBudget) -> Iterator[ValueSpans]:
        """Yield every legal reading of a text that ``fits``. A second reading makes the text ambiguous."""
        begins = self._reachable(text)
        if begins is None:
            return
        barred = [self._barred(key, text) for key in self.keys]
        last = len(self.keys) - 1
        end = len(text.text) - len(self.parts[-1])
        # Open choices: variable, end of its value, possible begins, values already read to its right.
        stack: list[tuple[int, int, int, ValueSpans]] = []
        index = last
        tail: ValueSpans = ()
        while True:
            if index < 0:
                yield tail
            else:
                budget.spend(ATTEMPT_COST)
                choice = begins[index] & _reaching(text, end, barred[index])
                if self.repeats and choice:
                    choice &= self._equal(index, end, tail, text)
                if choice:
                    stack.append((index, end, choice, tail))
            if not stack:
                return
            index, end, choice, tail = stack.pop()
            begin = (choice & -choice).bit_length() - 1
            if rest := choice & (choice - 1):
                stack.append((index, end, rest, tail))
            tail = ((begin, end), *tail)
            end = begin - len(self.parts[index])
            index -= 1

    def _reachable(self, text: NormalizedText) -> list[int] | None:
        """Return where each value can begin, reading from the left; None if the end cannot be reached."""
        size = len(text.text)
        everywhere = (2 << size) - 1
        inside = self._inside_unfilled(text)
        begins = [1 << len(self.parts[0])]
        for index, key in enumerate(self.keys):
            ends = _flood(begins[-1], ~self._barred(key, text) & (everywhere >> 1), text.blanks) << 1
            part = self.parts[index + 1]
            if index == len(self.keys) - 1:
                return begins if ends >> (size - len(part)) & 1 else None
            begins.append(((ends & text.occurrences(part) & ~inside) << len(part)) & ~inside & everywhere)
            if not begins[-1]:
                return None
        return begins

    def _barred(self, key: str, text: NormalizedText) -> int:
        """Return the positions that no value of this variable may include, such as its own unfilled ``{{…}}``."""
        barred = text.barred
        for name, begin, end in text.unfilled:
            if name == placeholder_name(key):
                barred |= 1 << ((begin + end) // 2)
        return barred

    def _inside_unfilled(self, text: NormalizedText) -> int:
        """Return the positions inside a ``{{…}}`` of this pattern's variables, where no value begins or ends."""
        inside = 0
        for name, begin, end in text.unfilled:
            if name in self.names:
                inside |= (1 << end) - (2 << begin)
        return inside

    def _equal(self, index: int, end: int, tail: ValueSpans, text: NormalizedText) -> int:
        """Return where the value can begin: at one position if its variable was read further right, else anywhere."""
        for other, (begin, stop) in enumerate(tail, index + 1):
            if self.keys[other] == self.keys[index]:
                start = end - (stop - begin)
                same = start >= 0 and text.text[start:end] == text.text[begin:stop]
                return 1 << start if same else 0
        return -1


def find_leftmost(parts: Sequence[str], text: str) -> ValueSpans | None:
    """Return the leftmost non-empty values between the parts; None if the text does not match."""
    if len(parts) == 1:
        return () if text == parts[0] else None
    end = len(text) - len(parts[-1])
    begin = len(parts[0])
    if begin >= end or not text.startswith(parts[0]) or not text.endswith(parts[-1]):
        return None
    spans = []
    for part in parts[1:-1]:
        at = text.find(part, begin + 1, end - 1)
        if at < 0:
            return None
        spans.append((begin, at))
        begin = at + len(part)
    spans.append((begin, end))
    return tuple(spans)


def placeholder_name(key: str) -> str:
    """Return the name between the braces."""
    return key.removeprefix("header.")


def _flood(starts: int, allowed: int, blanks: int) -> int:
    """Return all positions that can be the last character of a value beginning at one of ``starts``."""
    begun = starts & allowed
    on_blank = begun & blanks  # a value is not a single blank: start at the next character
    begun = (begun ^ on_blank) | ((on_blank << 1) & allowed)
    return (allowed & ~(allowed + begun)) | begun


def _reaching(text: NormalizedText, end: int, barred: int) -> int:
    """Return where a value that ends before ``end`` can begin."""
    below = (1 << end) - 1
    first = (barred & below).bit_length()
    reaching = below >> first << first
    if end and text.text[end - 1] in EDGE_BLANKS:
        reaching &= ~(1 << (end - 1))
    return reaching


@lru_cache(maxsize=50_000)
def compile_patterns(template: TemplateDefinition) -> tuple[MatchPattern, ...]:
    """Return the texts that can be pasted for a template: the body alone, with header, with footer, with both."""
    header, body, footer = (
        _pieces(template.header_text, VariablePlace.HEADER),
        _pieces(template.body, VariablePlace.BODY),
        ((fold_text(template.footer),), ()),
    )
    found = [_joined(body)]
    if template.header_text:
        found.append(_joined(header, body))
    if template.footer:
        found.append(_joined(body, footer))
    if template.header_text and template.footer:
        found.append(_joined(header, body, footer))
    return tuple(found)


def _pieces(text: str, place: VariablePlace) -> ComponentParts:
    pieces = split_placeholders(text)
    parts = tuple(fold_text(piece) for piece in pieces if isinstance(piece, str))
    return parts, tuple(variable_key(piece.name, place) for piece in pieces if isinstance(piece, Placeholder))


def _joined(*texts: ComponentParts) -> MatchPattern:
    parts: list[str] = [""]
    keys: list[str] = []
    for number, (own, names) in enumerate(texts):
        if number:
            parts[-1] = parts[-1].rstrip(EDGE_BLANKS) + "\n" + own[0].lstrip(EDGE_BLANKS)
        else:
            parts[-1] = own[0].lstrip(EDGE_BLANKS)
        parts += own[1:]
        keys += names
    parts[-1] = parts[-1].rstrip(EDGE_BLANKS)
    return MatchPattern(tuple(parts), tuple(keys))
