"""Who takes which words of a gap: the piece of a pattern and the piece of a text between two equal words.

The usual table of edit distances, with variables that take one word or more. Small by nature; a gap for which
the table would grow beyond ``cells`` is shown whole instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# What it costs to say that a fixed word is missing, a word is too much, one stands for another that is unlike it,
# a variable has no value, a value has one more word.
MISSING, TOO_MUCH, OTHER, NO_VALUE, LONGER_VALUE = 1.0, 1.0, 1.0, 0.8, 0.1


class Token(NamedTuple):
    """A word or sign; or, where ``key`` is given, a variable. ``glued``: no space before it."""

    word: str
    begin: int = 0
    end: int = 0
    glued: bool = False
    key: str = ""


Laid = list[tuple[Token | None, int]]  # each token of the pattern (None: too much) and how many words it takes


def lay_gap(own: Sequence[Token], words: Sequence[Token], cells: int) -> Laid:
    if len(own) == 1 and own[0].key:
        return [(own[0], len(words))]
    if not any(token.key for token in own) or (len(own) + 1) * (len(words) + 1) > cells:
        plain = [token for token in own if not token.key]
        paired: Laid = [(token, int(index < len(words))) for index, token in enumerate(plain)]
        return [*paired, (None, max(0, len(words) - len(plain)))]
    return _cheapest(own, words)


def _cheapest(own: Sequence[Token], words: Sequence[Token]) -> Laid:
    steps = _steps(own, words)
    laid: Laid = []
    row = column = 0
    while row < len(own) or column < len(words):
        taken = steps[row][column]
        if taken < 0:
            laid.append((None, 1))
            column += 1
        else:
            laid.append((own[row], taken))
            row, column = row + 1, column + taken
    return laid


def _steps(own: Sequence[Token], words: Sequence[Token]) -> list[list[int]]:
    """At each token and word, how many words the token takes (-1: the word is too much); filled from the end."""
    width = len(words)
    below = [TOO_MUCH * (width - column) for column in range(width + 1)]
    steps = [[-1] * width + [0]]
    for token in reversed(own):
        here = [0.0] * (width + 1)
        taken = [0] * (width + 1)
        best_end, best_end_cost = width, float("inf")  # where a value from here best ends
        for column in range(width, -1, -1):
            choices = [(below[column] + (NO_VALUE if token.key else MISSING), 0)]
            if column < width and token.key:
                ending = below[column + 1] + LONGER_VALUE * (column + 1)
                if ending <= best_end_cost:
                    best_end, best_end_cost = column + 1, ending
                choices.append((best_end_cost - LONGER_VALUE * (column + 1), best_end - column))
            elif column < width:
                unlike = OTHER * (1 - likeness(token.word, words[column].word))
                choices.append((below[column + 1] + unlike, 1))
                choices.append((here[column + 1] + TOO_MUCH, -1))
            here[column], taken[column] = min(choices)
        below = here
        steps.append(taken)
    return steps[::-1]


@lru_cache(maxsize=10_000)
def likeness(one: str, other: str) -> float:
    """From 0 to 1, by how much the two begin and end alike."""
    one, other = one.casefold()[:40], other.casefold()[:40]
    shorter = min(len(one), len(other))
    head = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    rest = shorter - head
    tail = next((at for at in range(rest) if one[-1 - at] != other[-1 - at]), rest)
    return (head + tail) / max(len(one), len(other))
