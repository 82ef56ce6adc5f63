"""No template fits: the closest one, and the words in which it differs.

In three steps, each bounded: the rarest words of the text point out a few dozen templates; the longest common
subsequence of words ranks them; the best few are laid word by word beside the text (``explain``), and the closest
of these is the answer, if it is close at all.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter

from templates_registry.content.normalization import Normalised

from .explain import Beside, lay_beside, places, rows, tokens_of, words_of
from .patterns import Pattern
from .word_alignment import TextCosts

WORD = re.compile(r"\w\w+")

VISITS = 2_500  # entries of the word index looked at for one text
POINTED_OUT = 12
LAID_BESIDE = 2
FEW_WORDS = 6
HOPELESS = 0.5  # of the fixed words and signs found, in any order of weight; not worth a closer look
CLOSE = 0.6  # of the fixed words, less what is too much; below, nothing is close


class Words:
    """Which owner's patterns have which words. Built once, never changed."""

    def __init__(self, patterns: Sequence[Sequence[Pattern]]) -> None:
        self._patterns = patterns
        self._words: list[frozenset[str]] = []
        index: dict[str, list[int]] = defaultdict(list)
        for owner, own in enumerate(patterns):
            # The last pattern is the fullest: header, body and footer.
            words = frozenset(WORD.findall("\n".join(own[-1].parts).casefold()))
            self._words.append(words)
            for word in words:
                index[word].append(owner)
        self._index = dict(index)

    def closest(self, text: Normalised) -> Beside | None:
        tokens = tokens_of(text.text)
        where = places([token.word for token in tokens])
        ranked = []
        for owner in self._pointed_out(text.text):
            for number, pattern in enumerate(self._patterns[owner]):
                rank = _rank(words_of(pattern), len(tokens), where)
                ranked += [(rank, -owner, -number)] if rank else []
        costs = TextCosts(tokens) if ranked else None
        laid = [
            lay_beside(-owner, self._patterns[-owner][-number], text, tokens, costs)
            for _, owner, number in heapq.nlargest(LAID_BESIDE, ranked)
        ]
        nearest = max(laid, key=lambda one: (one.closeness, -one.owner), default=None)
        return nearest if nearest and nearest.closeness >= CLOSE else None

    def _pointed_out(self, text: str) -> list[int]:
        """The owners that share most with the text; which words are rare is a matter of the whole registry."""
        words = {word for word in WORD.findall(text.casefold()) if word in self._index}
        shared: Counter[int] = Counter()
        visits = 0
        for word in sorted(words, key=lambda word: (len(self._index[word]), word)):
            visits += len(self._index[word])
            if visits > VISITS and shared:
                break
            shared.update(self._index[word])
        many = sorted(shared.items(), key=itemgetter(1), reverse=True)[: 5 * POINTED_OUT]
        return heapq.nlargest(POINTED_OUT, (owner for owner, _ in many), key=lambda one: self._likeness(one, words))

    def _likeness(self, owner: int, words: set[str]) -> float:
        own = self._words[owner]
        shared = len(own & words)
        return shared / (len(own) + (len(words) - shared) / 2)


def _rank(words: Sequence[str], size: int, places: Mapping[str, int]) -> float:
    """A quick guess of the closeness, taking it that a value is a few words; 0 if it cannot be close at all."""
    table = rows(words, size, places)
    common = size - table[-1].bit_count() if table else 0
    variables = words.count("")
    fixed = len(words) - variables or 1
    too_much = max(0, size - common - FEW_WORDS * variables)
    return common / (fixed + too_much / 4) if common >= HOPELESS * fixed else 0.0
