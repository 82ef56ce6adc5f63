"""Closest template for a text that no template fits, with the words that differ.

Three steps, each bounded: the rarest words of the text select a few dozen templates, the longest common subsequence
of words ranks them, and ``word_comparison`` compares the best few with the text word by word. The closest one is the
answer if it is close enough.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter

from templates_registry.content.normalization import NormalizedText

from .patterns import MatchPattern
from .word_alignment import TextCosts
from .word_comparison import (
    WordComparison,
    build_subsequence_table,
    compare_words,
    index_word_positions,
    list_pattern_words,
    tokenize_text,
)

WORD = re.compile(r"\w\w+")

MAX_VISITS = 2_500  # entries of the word index per text
MAX_SELECTED = 12
MAX_COMPARED = 2
WORDS_PER_VALUE = 6
MIN_COMMON_SHARE = 0.5  # of the fixed words and signs; below, no closer look
MIN_CLOSENESS = 0.6  # of the fixed words, reduced by extra words; below, no template is close


class WordIndex:
    """Index from words to templates (owners). Immutable."""

    def __init__(self, patterns: Sequence[Sequence[MatchPattern]]) -> None:
        self._patterns = patterns
        self._words: list[frozenset[str]] = []
        index: dict[str, list[int]] = defaultdict(list)
        for owner, own in enumerate(patterns):
            # The last pattern is the longest: header, body and footer.
            words = frozenset(WORD.findall("\n".join(own[-1].parts).casefold()))
            self._words.append(words)
            for word in words:
                index[word].append(owner)
        self._index = dict(index)

    def closest(self, text: NormalizedText) -> WordComparison | None:
        """Return the comparison with the closest template, or None if none is close."""
        tokens = tokenize_text(text.text)
        where = index_word_positions([token.word for token in tokens])
        ranked = []
        for owner in self._select_owners(text.text):
            for number, pattern in enumerate(self._patterns[owner]):
                rank = _rank(list_pattern_words(pattern), len(tokens), where)
                ranked += [(rank, -owner, -number)] if rank else []
        costs = TextCosts(tokens) if ranked else None
        compared = [
            compare_words(-owner, self._patterns[-owner][-number], text, tokens, costs)
            for _, owner, number in heapq.nlargest(MAX_COMPARED, ranked)
        ]
        nearest = max(compared, key=lambda one: (one.closeness, -one.owner), default=None)
        return nearest if nearest and nearest.closeness >= MIN_CLOSENESS else None

    def _select_owners(self, text: str) -> list[int]:
        """Select the owners that share the most rare words with the text. Rarity counts over the whole registry."""
        words = {word for word in WORD.findall(text.casefold()) if word in self._index}
        shared: Counter[int] = Counter()
        visits = 0
        for word in sorted(words, key=lambda word: (len(self._index[word]), word)):
            visits += len(self._index[word])
            if visits > MAX_VISITS and shared:
                break
            shared.update(self._index[word])
        many = sorted(shared.items(), key=itemgetter(1), reverse=True)[: 5 * MAX_SELECTED]
        return heapq.nlargest(
            MAX_SELECTED, (owner for owner, _ in many), key=lambda one: self._word_overlap(one, words)
        )

    def _word_overlap(self, owner: int, words: set[str]) -> float:
        own = self._words[owner]
        shared = len(own & words)
        return shared / (len(own) + (len(words) - shared) / 2)


def _rank(words: Sequence[str], size: int, places: Mapping[str, int]) -> float:
    """Estimate the closeness, assuming values of a few words; 0 if the text cannot be close."""
    table = build_subsequence_table(words, size, places)
    common = size - table[-1].bit_count() if table else 0
    variables = words.count("")
    fixed = len(words) - variables or 1
    extra = max(0, size - common - WORDS_PER_VALUE * variables)
    return common / (fixed + extra / 4) if common >= MIN_COMMON_SHARE * fixed else 0.0
