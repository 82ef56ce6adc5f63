"""A pattern laid beside a text, word by word: so that one can say «утверждено: готов, у вас: готово».

Equal words in equal order are found first (longest common subsequence, a few integer operations a word). What lies
between two of them is a gap (``gaps``): there the variables take the words that are theirs, and what remains differs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from templates_registry.components import braced
from templates_registry.gaps import Token, lay_gap
from templates_registry.normalising import Normalised
from templates_registry.patterns import Pattern, name_of

TOKEN = re.compile(r"\w+|[^\w\s]")
MOST_TOKENS = 700
CELLS = 1_500  # the work that the gaps of one pattern may take together


SIGN = 0.25  # of a word


@dataclass(frozen=True, slots=True)
class Difference:
    """What is approved here and what stands in the text; either may be empty."""

    approved: str
    yours: str


@dataclass(frozen=True, slots=True)
class Beside:
    """``values`` by key, as far as they can be told; ``empty`` are variables for which the text has nothing."""

    owner: int
    closeness: float
    values: dict[str, str]
    empty: tuple[str, ...]
    differences: tuple[Difference, ...]


def tokens_of(text: str) -> list[Token]:
    """Words and signs; of a text longer than any template, the beginning."""
    return [
        Token(match[0], match.start(), match.end(), match.start() > 0 and text[match.start() - 1] not in " \n")
        for match in islice(TOKEN.finditer(text), MOST_TOKENS)
    ]


@lru_cache(maxsize=20_000)
def words_of(pattern: Pattern) -> tuple[str, ...]:
    """The pattern's words and signs in order; an empty one where a variable stands."""
    words: list[str] = []
    for index, part in enumerate(pattern.parts):
        words += [""] if index else []
        words += TOKEN.findall(part)
    return tuple(words)


def lay_beside(owner: int, pattern: Pattern, text: Normalised, tokens: Sequence[Token]) -> Beside:
    own = _pattern_tokens(pattern)
    pairs = _common(words_of(pattern), tokens)
    layer = _Layer(text, own, tokens)
    row = column = 0
    for row_end, column_end in pairs:
        if row < row_end or column < column_end:
            layer.gap(row, row_end, column, column_end)
        layer.same(row_end, column_end)
        row, column = row_end + 1, column_end + 1
    layer.gap(row, len(own), column, len(tokens))
    layer.close()
    if not layer.differences and not layer.empty:
        layer.differences.append(Difference(_spelt(own), text.raw.strip()))  # it is only the spaces
    fixed = sum(weight(token.word) for token in own if not token.key) or 1
    common = sum(weight(own[at].word) for at, _ in pairs)
    return Beside(
        owner=owner,
        closeness=common / (fixed + layer.too_much / 2),
        values=layer.values,
        empty=tuple(layer.empty),
        differences=tuple(layer.differences),
    )


def weight(word: str) -> float:
    return 1.0 if word.isalnum() else SIGN


class _Layer:
    """Collects values and differences from left to right."""

    def __init__(self, text: Normalised, own: Sequence[Token], tokens: Sequence[Token]) -> None:
        self.text, self.own, self.tokens = text, own, tokens
        self.values: dict[str, str] = {}
        self.empty: list[str] = []
        self.differences: list[Difference] = []
        self.too_much = 0.0
        self._cells = CELLS
        self._approved: list[Token] = []
        self._yours: list[Token] = []
        self._before: tuple[int, int] | None = None  # the pair of equal words just passed

    def same(self, row: int, column: int) -> None:
        self.close()
        if self._before == (row - 1, column - 1) and self.own[row].glued != self.tokens[column].glued:
            # The words agree and the space between them does not.
            self._approved += self.own[row - 1 : row + 1]
            self._yours += self.tokens[column - 1 : column + 1]
            self.close()
        self._before = (row, column)

    def gap(self, row: int, row_end: int, column: int, column_end: int) -> None:
        own, words = self.own[row:row_end], self.tokens[column:column_end]
        at = 0
        for token, taken in lay_gap(own, words, self._cells):
            mine = words[at : at + taken]
            at += taken
            if token and token.key:
                self.close()
                self._value(token.key, mine)
            else:
                self._approved += [token] if token else []
                self._yours += mine
                self.too_much += 0 if token else sum(weight(word.word) for word in mine)
        self._cells -= len(own) * len(words)

    def close(self) -> None:
        """The difference collected so far is complete."""
        if self._approved or self._yours:
            self.differences.append(Difference(_spelt(self._approved), self._cut_out(self._yours)))
        self._approved, self._yours = [], []

    def _value(self, key: str, words: Sequence[Token]) -> None:
        if words:
            self.values.setdefault(key, self._cut_out(words))
        elif key not in self.empty:
            self.empty.append(key)

    def _cut_out(self, words: Sequence[Token]) -> str:
        return self.text.value(words[0].begin, words[-1].end) if words else ""


def _pattern_tokens(pattern: Pattern) -> list[Token]:
    found: list[Token] = []
    before = ""
    for index, part in enumerate(pattern.parts):
        if index:
            glued = before[-1:] not in (" ", "\n")
            found.append(Token("", glued=glued, key=pattern.keys[index - 1]))
        own = tokens_of(part)
        if index and own and own[0].begin == 0:
            own[0] = own[0]._replace(glued=True)
        found += own
        before = part
    return found


def _spelt(tokens: Sequence[Token]) -> str:
    words = [braced(name_of(token.key)) if token.key else token.word for token in tokens]
    return "".join(
        word if index == 0 or token.glued else " " + word
        for index, (word, token) in enumerate(zip(words, tokens, strict=True))
    )


def places(tokens: Sequence[Token]) -> dict[str, int]:
    """Where each word stands, a bit a place."""
    found: dict[str, int] = defaultdict(int)
    for index, token in enumerate(tokens):
        found[token.word] |= 1 << index
    return found


def rows(words: Sequence[str], size: int, places: Mapping[str, int]) -> list[int]:
    """The table of the common subsequences (Hyyrö 2004): a row a word, a bit a column, 0 where the length grows."""
    everything = (1 << size) - 1
    row = everything
    table = []
    for word in words:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
        table.append(row)
    return table


def _common(words: Sequence[str], tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Equal words in equal order, as many as can be: pairs of places in the pattern and in the text."""
    table = rows(words, len(tokens), places(tokens))
    pairs = []
    row, column = len(table), len(tokens)
    while row and column:
        if table[row - 1] >> (column - 1) & 1:
            column -= 1
            continue
        row -= 1
        if row == 0 or table[row - 1] >> (column - 1) & 1:
            column -= 1
            pairs.append((row, column))
    return pairs[::-1]
