"""Lines of formatted words, and their WhatsApp text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from .whatsapp_markup import CODE, MONO, parse_runs

QUOTE = "> "

Run = tuple[str, frozenset[str]]  # words, and the formatting marks that apply to them


@dataclass(slots=True)
class TextLine:
    """One line of text, as runs of equally formatted words."""

    runs: list[Run] = field(default_factory=list)
    prefix: str = ""  # of a list item: its bullet or number; of the lines below it: as many spaces
    quotes: int = 0
    is_mono: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.prefix and not any(text.strip(" \t\n") for text, _ in self.runs)


def join_code_lines(lines: Sequence[TextLine]) -> Iterable[TextLine]:
    """Join the lines of each <pre> into one, because WhatsApp marks a block of code as a whole."""
    block: list[str] = []
    for line in [*lines, TextLine()]:
        if line.is_mono:
            block.append("".join(text for text, _ in line.runs))
            continue
        if block:
            yield TextLine(runs=[("\n".join(block), frozenset((MONO,)))])
            block = []
        yield line


def format_line(line: TextLine, *, is_bare: bool) -> str:
    """Return a line as WhatsApp text; ``is_bare`` returns its words alone."""
    words = "".join(text for text, _ in line.runs)
    if is_bare:
        return words.replace("\xa0", " ")
    if line.runs and MONO in line.runs[0][1]:
        return f"{MONO}{words}{MONO}" if MONO not in words and words.strip() else words
    quote = QUOTE if line.quotes else ""
    return (quote + line.prefix + _add_marks(line.runs)).replace("\xa0", " ") if not line.is_empty else ""


def _add_marks(runs: Sequence[Run]) -> str:
    """Return the words with their formatting marks, or without the marks that WhatsApp would not render.

    Each choice of marks is parsed again: the first that reads back as the same runs is taken.
    """
    runs = _drop_marks_inside_words(_move_blanks_out_of_marks(runs))
    words = "".join(text for text, _ in runs)
    every: frozenset[str] = frozenset().union(*(marks for _, marks in runs)) if runs else frozenset()
    choices = [every, frozenset(mark for mark in every if mark not in words), *(frozenset((mark,)) for mark in every)]
    for allowed in choices if every else ():
        expected = _join_equal_runs((text, marks & allowed) for text, marks in runs)
        written = _write_marks(expected)
        if parse_runs(written) == expected:
            return written
    return words


def _join_equal_runs(runs: Iterable[Run]) -> list[Run]:
    return [("".join(text for text, _ in group), marks) for marks, group in groupby(runs, key=itemgetter(1))]


def _move_blanks_out_of_marks(runs: Sequence[Run]) -> list[Run]:
    """Let the blanks between two runs have the marks that both runs have."""
    pieces: list[tuple[str, frozenset[str]]] = []
    for text, marks in runs:
        core = text.strip(" \xa0\t")
        before, _core, after = text.partition(core) if core else (text, "", "")
        pieces += [(before, frozenset()), (core, marks), (after, frozenset())]
    pieces = [piece for piece in pieces if piece[0]]
    found: list[Run] = []
    last: frozenset[str] = frozenset()
    for number, (text, marks) in enumerate(pieces):
        if text.strip(" \xa0\t"):
            found.append((text, marks))
            last = marks
        else:
            following = pieces[number + 1][1] if number + 1 < len(pieces) else frozenset()
            found.append((text, last & following))
    return _join_equal_runs(found)


def _drop_marks_inside_words(runs: Sequence[Run]) -> list[Run]:
    """Drop the marks that would open or close inside a word, where WhatsApp ignores them."""
    found = [(text, set(marks)) for text, marks in runs]
    for mark in {mark for _, marks in runs for mark in marks}:
        begin = None
        for at in range(len(runs) + 1):
            if at < len(runs) and mark in runs[at][1]:
                begin = at if begin is None else begin
            elif begin is not None:
                before = runs[begin - 1][0][-1:] if begin else ""
                after = runs[at][0][:1] if at < len(runs) else ""
                if before.isalnum() or after.isalnum():
                    for _, marks in found[begin:at]:
                        marks.discard(mark)
                begin = None
    return _join_equal_runs((text, frozenset(marks)) for text, marks in found)


def _write_marks(runs: Sequence[Run]) -> str:
    """Write each mark where its formatting begins and ends, properly nested."""
    parts: list[str] = []
    opened: list[str] = []
    for text, marks in [*runs, ("", frozenset[str]())]:
        while not marks.issuperset(opened):
            parts.append(opened.pop())
        for mark in ("*", "_", "~", CODE):
            if mark in marks and mark not in opened:
                opened.append(mark)
                parts.append(mark)
        parts.append(text)
    return "".join(parts)
