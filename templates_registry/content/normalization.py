"""Normalization of pasted text, with a mapping back to the original characters.

Normalized: Unicode composition (NFC), unusual and repeated spaces, spaces around lines and text, line ends and blank
lines, invisible characters, quotation marks, dashes. Each normalized character maps to its position in the original, so
that values are always cut out of the operator's own text.

Sets of positions are integers with one bit per position: see ``patterns``.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

NEWLINES = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
TAB = "\t"
BLANKS = SPACES + TAB + NEWLINES
# Soft hyphen, zero-width space and joiners, direction marks, word joiner, byte order mark…
INVISIBLE = "\u00ad\u061c\u180e\ufeff" + "".join(
    chr(code)
    for first, last in ((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064), (0x2066, 0x2069))
    for code in range(first, last + 1)
)
EMOJI_STYLE = "\ufe0e\ufe0f"  # invisible as well, but part of the previous character
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
QUOTES = "\u00ab\u00bb\u201c\u201d\u201e\u201f\u2033\u2036"
APOSTROPHES = "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u0060\u00b4"

MAX_SPACES = 4  # in a row; the provider refuses values with more
MAX_CLUSTER = 32  # characters of one letter with its marks; longer clusters are nonsense and slow to compose

EDGE_BLANKS = " \n"  # the blanks that a normalized text may have
FOLDED_CHARACTERS = str.maketrans(
    dict.fromkeys(SPACES + TAB, " ")
    | dict.fromkeys(NEWLINES, "\n")
    | dict.fromkeys(DASHES, "-")
    | dict.fromkeys(QUOTES, '"')
    | dict.fromkeys(APOSTROPHES, "'")
)
REMOVE_INVISIBLE = str.maketrans(dict.fromkeys(INVISIBLE + EMOJI_STYLE, ""))
# Not replaceable one to one: runs of blanks, invisible characters, and tabs (no value may hold a tab).
SPECIAL_RUN = re.compile(f"[{BLANKS}{INVISIBLE}{EMOJI_STYLE}]{{2,}}|[{INVISIBLE}{EMOJI_STYLE}{TAB}]")
UNFILLED = re.compile(r"\{\{ ?([^{}\s]+) ?\}\}")


@dataclass(frozen=True, eq=False)
class NormalizedText:
    """A normalized text. ``raw`` is the original, which ``value`` cuts from."""

    raw: str
    text: str
    barred: int  # positions that no value may include: line ends, tabs, more than four spaces
    # From position _starts[i] on, a character is _moved[i] positions further in the composed original. ``_composed``
    # maps composed positions to the original, if composing changed anything.
    _starts: Sequence[int]
    _moved: Sequence[int]
    _ended: int
    _composed: Sequence[int]
    _found: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def newlines(self) -> int:
        return self.text.count("\n")

    @cached_property
    def blanks(self) -> int:
        return self.occurrences(" ") | self.occurrences("\n")

    @cached_property
    def unfilled(self) -> tuple[tuple[str, int, int], ...]:
        """``{{…}}`` left in the text: name, begin, end."""
        if "{{" not in self.text:
            return ()
        return tuple((match[1], match.start(), match.end()) for match in UNFILLED.finditer(self.text))

    def value(self, begin: int, end: int) -> str:
        """Return the original characters of this span, without invisible ones at its edges."""
        return self.raw[self._stood(begin) : self._stood(end)].strip(INVISIBLE)

    def occurrences(self, part: str) -> int:
        """Return the positions where this part begins, overlapping ones included. An empty part begins everywhere."""
        if part not in self._found:
            self._found[part] = _occurrences(part, self.text)
        return self._found[part]

    def _stood(self, position: int) -> int:
        at = self._ended
        if position < len(self.text):
            at = position + self._moved[bisect_right(self._starts, position) - 1]
        return self._composed[at] if self._composed else at


def normalize_text(raw: str, *, trim: bool = True) -> NormalizedText:
    """Normalize a text. ``trim=False`` is for fixed parts, whose outer spaces separate them from values."""
    source, composed = _compose(raw)
    at, ended = _core(source) if trim else (0, len(source))
    pieces: list[str] = []
    starts, moved = [0], [at]
    size = barred = 0
    for row in SPECIAL_RUN.finditer(source, at, ended):
        pieces.append(source[at : row.start()])
        size += row.start() - at
        at = row.end()
        if blanks := row[0].translate(REMOVE_INVISIBLE):
            if TAB in blanks or len(blanks) > MAX_SPACES:
                barred |= 1 << size
            pieces.append("\n" if "\n" in blanks.translate(FOLDED_CHARACTERS) else " ")
            size += 1
        starts.append(size)
        moved.append(at - size)
    pieces.append(source[at:ended])
    text = "".join(pieces).translate(FOLDED_CHARACTERS)
    return NormalizedText(raw, text, barred | _occurrences("\n", text), starts, moved, ended, composed)


def fold_text(text: str) -> str:
    """Return the normalized form of a fixed part."""
    return normalize_text(text, trim=False).text


def _core(source: str) -> tuple[int, int]:
    """Return where the text begins and ends, without surrounding blanks and invisible characters."""
    around = BLANKS + INVISIBLE + EMOJI_STYLE
    end = len(source.rstrip(around))
    while source[end : end + 1] and source[end] in EMOJI_STYLE:
        end += 1
    return min(len(source) - len(source.lstrip(around)), end), end


def _compose(raw: str) -> tuple[str, Sequence[int]]:
    """Return the text in NFC, and the original position of each character (empty if nothing changed)."""
    if unicodedata.is_normalized("NFC", raw):
        return raw, ()
    characters: list[str] = []
    places: list[int] = []
    begin = 0
    for end in range(1, len(raw) + 1):
        if end < len(raw) and end - begin < MAX_CLUSTER and _joins(raw[end]):
            continue
        cluster = unicodedata.normalize("NFC", raw[begin:end])
        characters.append(cluster)
        places += [min(begin + index, end - 1) for index in range(len(cluster))]
        begin = end
    return "".join(characters), (*places, len(raw))


def _joins(character: str) -> bool:
    """Tell whether a character may compose with the previous one: marks, later letters of a Hangul syllable."""
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff"


def _occurrences(part: str, text: str) -> int:
    if not part:
        return (2 << len(text)) - 1
    places = bytearray(len(text) // 8 + 1)
    at = text.find(part)
    while at >= 0:
        places[at >> 3] |= 1 << (at & 7)
        at = text.find(part, at + 1)
    return int.from_bytes(places, "little")
