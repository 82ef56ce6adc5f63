"""Comparison of a pattern with a text, word by word: «утверждено: готов, у вас: готово».

``word_alignment`` assigns words of the text to fixed words and variables; the remaining words are the differences.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from templates_registry.content.components import add_braces
from templates_registry.content.normalization import NormalizedText

from .patterns import MatchPattern, placeholder_name
from .word_alignment import AlignmentStep, TextCosts, WordToken, align_words

TOKEN = re.compile(r"\w+|[^\w\s]")
MAX_TOKENS = 700
BASE_STATES, STATES_PER_TOKEN, MAX_STATES = 400, 30, 8_000  # limits of the search for one alignment

SIGN_WEIGHT = 0.25  # a punctuation sign counts as this part of a word


@dataclass(frozen=True, slots=True)
class WordDifference:
    """Approved words and the pasted text's words in their place; either may be empty."""

    approved: str
    yours: str


@dataclass(frozen=True, slots=True)
class WordComparison:
    """Result of comparing a text with one pattern.

    ``closeness`` is from 0 to 1. ``values`` are the certain ones, by key; ``empty`` are variables without a value.
    """

    owner: int
    closeness: float
    values: dict[str, str]
    empty: tuple[str, ...]
    differences: tuple[WordDifference, ...]


def tokenize_text(text: str) -> list[WordToken]:
    """Return the words and punctuation signs of a text, at most MAX_TOKENS."""
    return [
        WordToken(
            match[0],
            match.start(),
            match.end(),
            glued=match.start() > 0 and text[match.start() - 1] not in " \n",
            starts_line=match.start() > 0 and text[match.start() - 1] == "\n",
        )
        for match in islice(TOKEN.finditer(text), MAX_TOKENS)
    ]


@lru_cache(maxsize=20_000)
def list_pattern_words(pattern: MatchPattern) -> tuple[str, ...]:
    """Return the pattern's words and signs in order, with "" for each variable."""
    words: list[str] = []
    for index, part in enumerate(pattern.parts):
        words += [""] if index else []
        words += TOKEN.findall(part)
    return tuple(words)


def compare_words(
    owner: int, pattern: MatchPattern, text: NormalizedText, tokens: Sequence[WordToken], costs: TextCosts | None = None
) -> WordComparison:
    """Compare a text with one pattern of a template. ``owner`` is the caller's index of that template."""
    own = _pattern_tokens(pattern)
    most_states = min(BASE_STATES + STATES_PER_TOKEN * len(own), MAX_STATES)
    steps = align_words(own, tokens, most_states=most_states, costs=costs)
    builder = _ComparisonBuilder(text, own, tokens)
    for step in _align_roughly(pattern, own, tokens) if steps is None else steps:
        builder.add_step(step)
    builder.finish_difference()
    if not builder.differences and not builder.empty:
        builder.differences.append(WordDifference(_join_tokens(own), text.raw.strip()))  # only spaces differ
    fixed = sum(word_weight(token.word) for token in own if not token.key) or 1
    return WordComparison(
        owner=owner,
        closeness=builder.common_weight / (fixed + builder.extra_weight / 2),
        values={key: value for key, value in builder.values.items() if key not in builder.uncertain},
        empty=tuple(builder.empty),
        differences=tuple(builder.differences),
    )


def _align_roughly(
    pattern: MatchPattern, own: Sequence[WordToken], tokens: Sequence[WordToken]
) -> Iterator[AlignmentStep]:
    """Align roughly by the longest common subsequence, for texts too unlike their template. No value is certain."""
    row = column = 0
    for row_end, column_end in [
        *find_common_words(list_pattern_words(pattern), [token.word for token in tokens]),
        (len(own), len(tokens)),
    ]:
        for at in range(row, row_end):
            is_value = bool(own[at].key) and column < column_end
            yield AlignmentStep(at, at + 1, column, column_end if is_value else column, is_certain=False)
            column = column_end if is_value else column
        for at in range(column, column_end):
            yield AlignmentStep(row_end, row_end, at, at + 1)
        if row_end < len(own):
            yield AlignmentStep(row_end, row_end + 1, column_end, column_end + 1)
        row, column = row_end + 1, column_end + 1


def word_weight(word: str) -> float:
    """Return the weight of a word or sign in the closeness."""
    return 1.0 if word.isalnum() else SIGN_WEIGHT


class _ComparisonBuilder:
    """Collects values and differences from left to right."""

    def __init__(self, text: NormalizedText, own: Sequence[WordToken], tokens: Sequence[WordToken]) -> None:
        self.text, self.own, self.tokens = text, own, tokens
        self.values: dict[str, str] = {}
        self.uncertain: set[str] = set()
        self.empty: list[str] = []
        self.differences: list[WordDifference] = []
        self.common_weight = self.extra_weight = 0.0
        self._approved: list[WordToken] = []
        self._yours: list[WordToken] = []
        self._before: tuple[int, int] | None = None  # the last pair of equal words

    def add_step(self, step: AlignmentStep) -> None:
        own, words = self.own[step.row : step.row_end], self.tokens[step.column : step.column_end]
        if own and own[0].key:
            self.finish_difference()
            self._add_value(own[0].key, words, is_certain=step.is_certain)
        elif own and words and own[0].word == words[0].word:
            self.common_weight += word_weight(own[0].word)
            self._add_equal(step.row, step.column)
        else:
            self._approved += own
            self._yours += words
            self.extra_weight += 0 if own else sum(word_weight(word.word) for word in words)

    def _add_equal(self, row: int, column: int) -> None:
        self.finish_difference()
        if self._before == (row - 1, column - 1) and self.own[row].glued != self.tokens[column].glued:
            # The words are equal, but the space between them differs.
            self._approved += self.own[row - 1 : row + 1]
            self._yours += self.tokens[column - 1 : column + 1]
            self.finish_difference()
        self._before = (row, column)

    def finish_difference(self) -> None:
        """Finish the difference collected so far."""
        if self._approved or self._yours:
            self.differences.append(WordDifference(_join_tokens(self._approved), self._cut_out(self._yours)))
        self._approved, self._yours = [], []

    def _add_value(self, key: str, words: Sequence[WordToken], *, is_certain: bool) -> None:
        if words:
            value = self._cut_out(words)
            if not is_certain or self.values.setdefault(key, value) != value:
                self.uncertain.add(key)
        elif key not in self.empty:
            self.empty.append(key)

    def _cut_out(self, words: Sequence[WordToken]) -> str:
        return self.text.value(words[0].begin, words[-1].end) if words else ""


def _pattern_tokens(pattern: MatchPattern) -> list[WordToken]:
    found: list[WordToken] = []
    before = ""
    for index, part in enumerate(pattern.parts):
        if index:
            glued = before[-1:] not in (" ", "\n")
            found.append(WordToken("", glued=glued, key=pattern.keys[index - 1]))
        own = tokenize_text(part)
        if index and own and own[0].begin == 0:
            own[0] = own[0]._replace(glued=True)
        found += own
        before = part
    return found


def _join_tokens(tokens: Sequence[WordToken]) -> str:
    words = [add_braces(placeholder_name(token.key)) if token.key else token.word for token in tokens]
    return "".join(
        word if index == 0 or token.glued else " " + word
        for index, (word, token) in enumerate(zip(words, tokens, strict=True))
    )


def index_word_positions(words: Sequence[str]) -> dict[str, int]:
    """Return the positions of each word, as one bit per position."""
    found: dict[str, int] = defaultdict(int)
    for index, word in enumerate(words):
        found[word] |= 1 << index
    return found


def build_subsequence_table(words: Sequence[str], size: int, places: Mapping[str, int]) -> list[int]:
    """Return the bit-parallel table of longest common subsequences (Hyyrö 2004).

    One row per word, one bit per column; a bit is 0 where the length grows.
    """
    everything = (1 << size) - 1
    row = everything
    table = []
    for word in words:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
        table.append(row)
    return table


def find_common_words(words: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """Return a longest common subsequence, as pairs of positions in the two lists."""
    table = build_subsequence_table(words, len(others), index_word_positions(others))
    pairs = []
    row, column = len(table), len(others)
    while row and column:
        if table[row - 1] >> (column - 1) & 1:
            column -= 1
            continue
        row -= 1
        if row == 0 or table[row - 1] >> (column - 1) & 1:
            column -= 1
            pairs.append((row, column))
    return pairs[::-1]
