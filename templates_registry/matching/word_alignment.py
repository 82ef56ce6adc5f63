"""Word alignment: assigns the words of a text to the words and variables of a template.

The cheapest alignment wins. Dijkstra's algorithm with buckets visits only states of similar cost, so a text close to
its template is cheap at any length. A variable gets a value only if every alignment of similar cost gives it the same
words: a value is left empty rather than guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

# Costs, in twentieths of a missing fixed word.
MISSING_WORD, MISSING_SIGN, MISSING_PAIRED = 20, 12, 28
EXTRA_WORD, EXTRA_SIGN, EXTRA_PAIRED, EXTRA_GLUED = 20, 15, 20, 10
OTHER_WORD, OTHER_SIGN = 20, 20
SPACE_DIFFERS = 3
NO_VALUE = 16
VALUE_WORD, VALUE_SIGN, VALUE_PAIRED = 2, 1, 4
NEW_LINE_IN_VALUE = 14
SENTENCE_IN_VALUE = 45  # a value rarely spans the end of a sentence…
ENDING_COSTS = dict.fromkeys("!?…", 16) | dict.fromkeys(".,;:", 8)  # …or ends with punctuation
CLOSING_SIGN_FIRST = 10  # …or begins with closing punctuation
COST_MARGIN = 13  # alignments up to this much above the cheapest count as possible

SIGN_CLASSES = (".,;:!?…", "\"'«»“”„‘’`", "()[]{}<>", "-–—", "*_~")
CLOSING_SIGNS = frozenset(".,;:!?…»”’)]}>")
PAIRED = frozenset('"«»“”„()[]{}<>')
LONGEST_ABBREVIATION = 5


class WordToken(NamedTuple):
    """A word or punctuation sign, or a variable if ``key`` is set. ``glued``: no space before it."""

    word: str
    begin: int = 0
    end: int = 0
    glued: bool = False
    key: str = ""
    starts_line: bool = False


class AlignmentStep(NamedTuple):
    """Tokens ``row:row_end`` of the template correspond to words ``column:column_end`` of the text."""

    row: int
    row_end: int
    column: int
    column_end: int
    is_certain: bool = True  # of a value: every possible alignment gives the same words


State = int  # (row * width + column) * 2, plus 1 inside a value
Edge = tuple[State, int]


def align_words(
    own: Sequence[WordToken], words: Sequence[WordToken], *, most_states: int, costs: TextCosts | None = None
) -> list[AlignmentStep] | None:
    """Return the steps of the cheapest alignment, or None if the search needs more than ``most_states`` states."""
    return _Search(own, words, costs or TextCosts(words)).run(most_states)


class _Search:
    def __init__(self, own: Sequence[WordToken], words: Sequence[WordToken], costs: TextCosts) -> None:
        self.own, self.words = own, words
        self.width = len(words) + 1
        self.goal = (len(own) * self.width + len(words)) * 2
        self.missing_costs = [_missing_cost(token) for token in own]
        self.costs = costs
        self.done: dict[State, int] = {}  # cost from the start
        self.edges: dict[State, tuple[Edge, ...]] = {}

    def run(self, most_states: int) -> list[AlignmentStep] | None:
        if not self._visit(most_states):
            return None
        rest = self._costs_to_goal()
        spans = self._possible_values(rest)
        return list(self._steps(rest, spans))

    def _visit(self, most_states: int) -> bool:
        """Visit every state of possible alignments, cheapest first. Return whether the end was reached."""
        buckets: dict[int, list[State]] = {0: [0]}
        cost, limit = 0, 1 << 30
        while buckets and cost <= limit:
            level = buckets.pop(cost) if cost in buckets else []
            for state in level:  # grows during the loop: some edges cost nothing
                if state in self.done:
                    continue
                most_states -= 1
                if most_states < 0:
                    return False
                self.done[state] = cost
                if state == self.goal:
                    limit = cost + COST_MARGIN
                self.edges[state] = edges = self._edges(state)
                for target, step in edges:
                    if not step:
                        level += (target,)
                    elif target in self.done or cost + step > limit:
                        continue
                    elif cost + step in buckets:
                        buckets[cost + step] += (target,)
                    else:
                        buckets[cost + step] = [target]
            cost += 1
        return self.goal in self.done

    def _edges(self, state: State) -> tuple[Edge, ...]:
        row, column = state // (2 * self.width), (state >> 1) % self.width
        down, right = state + 2 * self.width, state + 2
        if state & 1:
            ending = self.costs.last[column - 1]
            if column == self.width - 1:
                return ((down - 1, ending),)
            return (down - 1, ending), (right, self.costs.next[column])
        if row * self.width * 2 + 2 * column == self.goal:
            return ()
        if column == self.width - 1:
            return ((down, self.missing_costs[row]),)
        extra = right, self.costs.extra[column]
        if (row + 1) * self.width * 2 > self.goal:
            return (extra,)
        token, word = self.own[row], self.words[column]
        missing = down, self.missing_costs[row]
        if token.key:
            return extra, missing, (right + 1, self.costs.first[column])
        if token.word == word.word:
            return extra, missing, (down + 2, 0 if token.glued == word.glued else SPACE_DIFFERS)
        other = _other_cost(token.word, word.word)
        return (extra, missing, (down + 2, other)) if other else (extra, missing)

    def _costs_to_goal(self) -> dict[State, int]:
        rest = {self.goal: 0}
        for state in sorted(self.done, reverse=True):  # every edge leads to a greater state
            for target, step in self.edges[state]:
                if target in rest and step + rest[target] < rest.get(state, 1 << 30):
                    rest[state] = step + rest[target]
        return rest

    def _possible_values(self, rest: dict[State, int]) -> dict[int, set[tuple[str, int]]]:
        """Return where the value of each variable begins and ends in all possible alignments."""
        limit = self.done[self.goal] + COST_MARGIN
        found: dict[int, set[tuple[str, int]]] = {}
        for state, edges in self.edges.items():
            row, column = (state >> 1) // self.width, (state >> 1) % self.width
            if row == len(self.own) or not self.own[row].key:
                continue
            for target, step in edges:
                if target not in rest or self.done[state] + step + rest[target] > limit:
                    continue
                if state & 1 and not target & 1:
                    found.setdefault(row, set()).add(("end", column))
                elif target & 1 and not state & 1:
                    found.setdefault(row, set()).add(("begin", column))
                elif not state & 1 and target != state + 2:
                    found.setdefault(row, set()).add(("none", column))
        return found

    def _steps(self, rest: dict[State, int], spans: dict[int, set[tuple[str, int]]]) -> Iterator[AlignmentStep]:
        state, begun = 0, 0
        while state != self.goal:
            target = max(
                (target for target, step in self.edges[state] if target in rest and step + rest[target] == rest[state])
            )
            row, column = (state >> 1) // self.width, (state >> 1) % self.width
            row_end, column_end = (target >> 1) // self.width, (target >> 1) % self.width
            if not target & 1 and not state & 1:
                yield AlignmentStep(row, row_end, column, column_end)
            elif target & 1 and not state & 1:
                begun = column
            elif not target & 1:
                yield AlignmentStep(row, row_end, begun, column, is_certain=len(spans[row]) == 2)
            state = target


def _missing_cost(token: WordToken) -> int:
    if token.key:
        return NO_VALUE
    return MISSING_WORD if token.word.isalnum() else MISSING_PAIRED if token.word in PAIRED else MISSING_SIGN


@lru_cache(maxsize=10_000)
def _other_cost(word: str, other: str) -> int:
    """Return the cost of one word in place of another; 0 if that is not allowed."""
    if word.isalnum() != other.isalnum():
        return 0
    if word.isalnum():
        word, other = word.casefold(), other.casefold()
        if word[0] != other[0] and word[-1] != other[-1]:
            return OTHER_WORD + 2
        return 2 + round(OTHER_WORD * (1 - word_similarity(word, other)))
    return OTHER_SIGN if any(word in signs and other in signs for signs in SIGN_CLASSES) else 0


class TextCosts:
    """Costs of each word of the text: as an extra word, or as the first, next or last word of a value."""

    def __init__(self, words: Sequence[WordToken]) -> None:
        self.extra: list[int] = []
        self.first: list[int] = []
        self.next: list[int] = []
        self.last: list[int] = []
        for at, token in enumerate(words):
            word = token.word
            is_word = word.isalnum()
            # A word directly after a sign, as in 01.02, is rarely an added one.
            sign = EXTRA_PAIRED if word in PAIRED else EXTRA_SIGN
            self.extra += (EXTRA_WORD + EXTRA_GLUED * token.glued if is_word else sign,)
            cost = VALUE_WORD if is_word else VALUE_PAIRED if word in PAIRED else VALUE_SIGN
            self.first += (cost + CLOSING_SIGN_FIRST if word in CLOSING_SIGNS else cost,)
            self.last += (0 if is_word or word not in ENDING_COSTS else ENDING_COSTS[word],)
            cost += NEW_LINE_IN_VALUE if token.starts_line else 0
            if is_word and at > 1 and not token.glued and _ends_sentence(words[at - 2].word, words[at - 1].word, word):
                cost += SENTENCE_IN_VALUE
            self.next += (cost,)


def _ends_sentence(before: str, sign: str, after: str) -> bool:
    """Guess whether a sentence ends between two words. Not in "ул. Лесная" or "А. Б. Котов"."""
    if sign not in ".!?" or not after[0].isupper():
        return False
    return sign != "." or (len(after) > 1 and (before.isdigit() or len(before) > LONGEST_ABBREVIATION))


def word_similarity(one: str, other: str) -> float:
    """Return from 0 to 1 how much two lowercase words share at their beginnings and ends."""
    one, other = one[:40], other[:40]
    shorter, longer = sorted((len(one), len(other)))
    head = tail = 0
    while head < shorter and one[head] == other[head]:
        head += 1
    while tail < shorter - head and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    return (head + tail) / longer
