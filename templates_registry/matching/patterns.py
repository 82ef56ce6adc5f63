"""One text of a template, as fixed parts and variables in turn, and every way a paste can be read as it.

A pattern with parts P0…Pn and variables V1…Vn reads a text as  P0 V1 P1 V2 … Vn Pn,  from its first character to
its last. A value is legal if it is not blank and holds no line end, tab or row of five spaces; a variable that
stands twice has one value. ``fits`` looks for any reading at all (fast, legal or not); ``readings`` yields the legal
ones, so that two of them prove the text ambiguous.

A set of positions in the text is one integer, a bit for each position: all places that a value can reach are
found by one addition, whose carry runs along the allowed characters and stops at the first one barred. So the
work for one pattern is a few operations per part, however the text is made, and nothing is tried over and over.
Only where a variable stands twice do readings have to be tried one by one; the ``WorkBudget`` bounds that.
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

ATTEMPT_COST = 15  # what one attempt costs, in the Meter's measure

ValueSpans = tuple[tuple[int, int], ...]  # begin and end of each value, in order
ComponentParts = tuple[tuple[str, ...], tuple[str, ...]]  # parts and keys of one component


class WorkBudgetExceeded(Exception):
    """The text would take more work than one paste may."""


class WorkBudget:
    """Counts the work done for one text, and ends it at ``limit``."""

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
    parts: tuple[str, ...]  # folded; one more than there are variables
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
        """Whether a variable stands twice."""
        return len(set(self.keys)) < len(self.keys)

    @cached_property
    def newlines(self) -> int:
        return sum(part.count("\n") for part in self.parts)

    @cached_property
    def fixed_length(self) -> int:
        return sum(len(part) for part in self.parts)

    def fits(self, text: str) -> ValueSpans | None:
        """The leftmost reading, its values not judged and maybe unequal; None if there is no reading at all."""
        return find_leftmost(self.parts, text)

    def readings(self, text: NormalizedText, meter: WorkBudget) -> Iterator[ValueSpans]:
        """Every legal reading of a text that ``fits``. Take two: a second one means that the first is a guess."""
        begins = self._reachable(text)
        if begins is None:
            return
        barred = [self._barred(key, text) for key in self.keys]
        last = len(self.keys) - 1
        end = len(text.text) - len(self.parts[-1])
        # What is left to try: variable, where its value ends, where it may begin, what has been read behind it.
        stack: list[tuple[int, int, int, ValueSpans]] = []
        index = last
        tail: ValueSpans = ()
        while True:
            if index < 0:
                yield tail
            else:
                meter.spend(ATTEMPT_COST)
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
        """Where each value can begin, going by what stands before it. None: the end cannot be reached."""
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
        """The characters that no value of this variable may hold; its own unfilled ``{{…}}`` among them."""
        barred = text.barred
        for name, begin, end in text.unfilled:
            if name == placeholder_name(key):
                barred |= 1 << ((begin + end) // 2)
        return barred

    def _inside_unfilled(self, text: NormalizedText) -> int:
        """Positions where nothing is cut: within a ``{{…}}`` that names one of our variables."""
        inside = 0
        for name, begin, end in text.unfilled:
            if name in self.names:
                inside |= (1 << end) - (2 << begin)
        return inside

    def _equal(self, index: int, end: int, tail: ValueSpans, text: NormalizedText) -> int:
        """Where the value must begin if its variable has been read further on; anywhere if not."""
        for other, (begin, stop) in enumerate(tail, index + 1):
            if self.keys[other] == self.keys[index]:
                start = end - (stop - begin)
                same = start >= 0 and text.text[start:end] == text.text[begin:stop]
                return 1 << start if same else 0
        return -1


def find_leftmost(parts: Sequence[str], text: str) -> ValueSpans | None:
    if len(parts) == 1:
        return () if text == parts[0] else None
    end = len(text) - len(parts[-1])
    begin = len(parts[0])
    if begin >= end or not text.startswith(parts[0]) or not text.endswith(parts[-1]):
        return None
    cuts = []
    for part in parts[1:-1]:
        at = text.find(part, begin + 1, end - 1)
        if at < 0:
            return None
        cuts.append((begin, at))
        begin = at + len(part)
    cuts.append((begin, end))
    return tuple(cuts)


def placeholder_name(key: str) -> str:
    """What stands between the braces."""
    return key.removeprefix("header.")


def _flood(starts: int, allowed: int, blanks: int) -> int:
    """All characters that a value from one of ``starts`` can have as its last one."""
    begun = starts & allowed
    on_blank = begun & blanks  # a blank alone is no value: there the next character counts as the first
    begun = (begun ^ on_blank) | ((on_blank << 1) & allowed)
    return (allowed & ~(allowed + begun)) | begun


def _reaching(text: NormalizedText, end: int, barred: int) -> int:
    """Where a value that ends before ``end`` can begin."""
    below = (1 << end) - 1
    first = (barred & below).bit_length()
    reaching = below >> first << first
    if end and text.text[end - 1] in EDGE_BLANKS:
        reaching &= ~(1 << (end - 1))
    return reaching


@lru_cache(maxsize=50_000)
def compile_patterns(template: TemplateDefinition) -> tuple[MatchPattern, ...]:
    """The texts under which a template can be pasted: the body alone, with its header, its footer, or both."""
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
