"""HTML to lines of formatted words (``html_lines``), as a browser would break them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain

from .html_attributes import (
    HIDES,
    MARKS,
    format_item_number,
    list_marks,
    list_marks_off,
    read_link_target,
    repeats_target,
)
from .html_lines import TextLine, format_line, join_code_lines
from .html_tokens import Tag, resolve_entities, tokenize_html
from .whatsapp_markup import CODE

BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option p pre section summary table "
    "tbody tfoot thead tr ul".split()
)
HIDDEN = frozenset(("script", "style", "head", "title", "template", "noscript", "svg", "object"))
VOID = frozenset("area base br col embed frame hr img input link meta param source track wbr".split())
LISTS = frozenset(("ul", "ol", "menu", "dir"))
LINKS = frozenset(("a", "video", "audio", "iframe"))
BLANK = re.compile(r"[ \t\r\n\f]+")
INDENT, MAX_INDENTS = "   ", 6


@dataclass(slots=True)
class OpenElement:
    """An element that is not closed yet."""

    name: str
    marks: frozenset[str]
    is_hidden: bool = False
    address: str = ""  # of a link
    title: str = ""
    begin: tuple[int, int] = (0, 0)  # line and run where a link's text begins


@dataclass(slots=True)
class OpenList:
    """A list that is not closed yet, with the number of its next item."""

    kind: str
    number: int = 1
    step: int = 1
    style: str = "1"  # the ``type`` attribute: 1, a or A


class HtmlReader:
    """Reads HTML into lines.

    ``is_bare`` leaves out everything that a page would not show as text: list markers, addresses, formatting marks.
    """

    def __init__(self, html: str, *, is_bare: bool = False) -> None:
        self.is_bare = is_bare
        self.lines = [TextLine()]
        self.open: list[OpenElement] = []
        self.items_and_lists: list[str] = []  # names of those that are open
        self.counts: Counter[str] = Counter()
        self.lists: list[OpenList] = []
        self.marks: frozenset[str] = frozenset()
        self.hidden = self.pre = self.quotes = 0
        self.breaks_line = False  # the next words begin a new line
        self.is_first_cell = self.is_cell_empty = True
        every = list(tokenize_html(html))
        # Plain text with a few inline tags in it: without <br> and blocks, only its newlines separate lines.
        self.keeps_lines = not any(isinstance(one, Tag) and (one.name == "br" or one.name in BLOCKS) for one in every)
        for token in every:
            if isinstance(token, str):
                self._add_words(token)
            elif token.is_end:
                self._end_element(token.name)
            else:
                self._start_element(token)
        while self.open:
            self._pop_element()

    def text(self) -> str:
        """Return the lines as one text, with at most three empty lines in a row."""
        lines = [format_line(line, is_bare=self.is_bare) for line in join_code_lines(self.lines)]
        return re.sub(r"\n{5,}", "\n\n\n\n", "\n".join(line.rstrip(" ") for line in lines)).strip("\n ")

    # --- tokens ---------------------------------------------------------------------------------------------

    def _add_words(self, text: str) -> None:
        if self.hidden:
            return
        if self.pre or self.keeps_lines:
            lines = re.sub(r"\r\n?", "\n", text).split("\n")
            for number, line in enumerate(lines):
                if number:
                    self._new_line(always=True)
                if line:
                    self._add_run(resolve_entities(line))
            return
        words = resolve_entities(BLANK.sub(" ", text))
        if words.startswith(" ") and (self.breaks_line or self._ends_with_blank()):
            words = words[1:]
        if words:
            self._add_run(words)

    def _start_element(self, tag: Tag) -> None:
        name, attributes = tag.name, tag.attributes
        if self.hidden:
            if name not in VOID:
                self._push_element(OpenElement(name, self.marks))
            return
        if name == "br":
            self._new_line(always=True)
        elif name == "hr":
            self._break_line()
            self._add_run("———")
            self._break_line()
        elif name == "img":
            self._add_picture(attributes)
        elif name in ("td", "th"):
            self._start_cell(name)
        elif name in BLOCKS:
            self._open_block(name, attributes)
        if name == "q":
            self._add_run("“")
        if name in VOID:
            return
        style = attributes.get("style", "")[:1000]
        opened = OpenElement(name, self.marks, is_hidden=name in HIDDEN or bool(style and HIDES.search(style)))
        if name in LINKS:
            # One open element of each of the four kinds at most: closing them reads each line four times at most.
            self._end_element(name)
            opened.address = attributes.get("href" if name == "a" else "src", "").strip()
            opened.title = attributes.get("title", "").strip()
            opened.begin = self._place()
        self._push_element(opened)
        self.marks = self.marks | list_marks(name, style) if name in MARKS or style else self.marks
        self.marks -= list_marks_off(style) if style else frozenset()

    def _end_element(self, name: str) -> None:
        if name == "br":
            self._new_line(always=True)
        elif name == "p" and not self.counts["p"]:
            self._break_line()
        if not self.counts[name]:
            return
        while self._pop_element() != name:
            pass
        if name == "q":
            self._add_run("”")

    def _push_element(self, opened: OpenElement) -> None:
        self.open.append(opened)
        if opened.name == "li" or opened.name in LISTS:
            self.items_and_lists.append(opened.name)
        self.counts[opened.name] += 1
        self.hidden += opened.is_hidden
        self.pre += opened.name == "pre"

    def _pop_element(self) -> str:
        last = self.open.pop()
        name = last.name
        self.counts[name] -= 1
        if name == "li" or name in LISTS:
            self.items_and_lists.pop()
        was_hidden = self.hidden
        self.hidden -= last.is_hidden
        self.pre -= name == "pre"
        if was_hidden:
            self.marks = last.marks
            return name
        if last.address:
            self._end_link(last)
        self.marks = last.marks
        if name == "blockquote":
            self.quotes -= 1
        elif name in LISTS and self.lists:
            self.lists.pop()
        if name in BLOCKS and name not in ("html", "body"):
            self._break_line()
        return name

    def _open_block(self, name: str, attributes: dict[str, str]) -> None:
        if name == "li":
            if self.lists and self._is_open_item():
                self._end_element("li")
            self._start_item(attributes)
        else:
            if name == "p" and self.counts["p"]:
                self._end_element("p")
            is_in_empty_cell = name in ("p", "div") and self.is_cell_empty and self.counts["tr"]
            if not is_in_empty_cell:
                self._break_line()
        if name == "tr":
            self.is_first_cell = True
        elif name == "blockquote":
            self.quotes += 1
        elif name in LISTS:
            start = attributes.get("start", "").strip()
            number = int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1
            step = -1 if "reversed" in attributes else 1
            self.lists.append(OpenList(name, number, step, attributes.get("type", "1").strip()))

    def _is_open_item(self) -> bool:
        return self.items_and_lists[-1:] == ["li"]

    def _start_item(self, attributes: dict[str, str]) -> None:
        self._new_line()
        within = self.lists[-1] if self.lists else OpenList("ul")
        mark = "• "
        if within.kind == "ol":
            value = attributes.get("value", "").strip()
            within.number = int(value) if re.fullmatch(r"-?\d{1,6}", value) else within.number
            mark = f"{format_item_number(within.number, within.style)}. "
            within.number += within.step
        if not self.is_bare:
            self.lines[-1].prefix = INDENT * min(len(self.lists) - 1, MAX_INDENTS) + mark

    def _start_cell(self, name: str) -> None:
        if self.counts["td"] + self.counts["th"] and self.open[-1].name in ("td", "th"):
            self._pop_element()
        if not self.is_first_cell:
            self.breaks_line = False
            self._add_run(" " if self.is_bare else " | ")
        self.is_first_cell = False
        self.is_cell_empty = True

    def _add_picture(self, attributes: dict[str, str]) -> None:
        alt, source = attributes.get("alt", "").strip(), attributes.get("src", "").strip()
        hint = " ".join((attributes.get("class", ""), source, " ".join(attributes))).lower()
        is_emoji = bool(alt) and ("emoji" in hint or "smil" in hint or not any(map(str.isalpha, alt)))
        if is_emoji or attributes.get("width") == "1" or attributes.get("height") == "1":
            address = ""
        else:
            address = source if source.lower().startswith(("https://", "http://")) else ""
        if alt and not (attributes.get("width") == "1" and not is_emoji):
            self._add_run(alt)
            if address and not self.is_bare and address not in alt:
                self._add_run(f" ({address})")
        elif address:
            self._add_run(address)

    def _end_link(self, link: OpenElement) -> None:
        target, joint = read_link_target(link.address)
        if not link.title and (not target or self.is_bare):
            return
        row, column = link.begin
        runs = self.lines[row].runs[column:] if row < len(self.lines) else []
        runs += chain.from_iterable(line.runs for line in self.lines[row + 1 :])
        shown = "".join(text for text, _ in runs).strip()
        if not shown and link.title:
            self._add_run(link.title)
            shown = link.title
        if not target or self.is_bare:
            return
        if not shown:
            self._add_run(target)
            return
        title = link.title if link.title and link.title not in (shown, target) else ""
        if repeats_target(shown, target):
            if joint == "(" and target not in shown and row == len(self.lines) - 1:
                self.lines[row].runs[column:] = [(target, self.marks)]
            return
        target = f"{title}: {target}" if title else target
        self._add_run(f" ({target})" if joint == "(" else f": {target}", marks=self.marks - {CODE})

    # --- lines ----------------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        return (len(self.lines), 0) if self.breaks_line else (len(self.lines) - 1, len(self.lines[-1].runs))

    def _ends_with_blank(self) -> bool:
        runs = self.lines[-1].runs
        return not runs or runs[-1][0].endswith(" ")

    def _break_line(self) -> None:
        """Let the next words begin a line."""
        if self.lines[-1].runs:
            self.breaks_line = True

    def _new_line(self, *, always: bool = False) -> None:
        last = self.lines[-1]
        if self.breaks_line:
            self.breaks_line = False
            self.lines.append(self._line_below(last))
            last = self.lines[-1]
            if not always:
                return
        if always or last.runs or last.prefix.strip():
            self.lines.append(self._line_below(last))

    def _line_below(self, last: TextLine) -> TextLine:
        in_item = bool(self.lists) and not self.is_bare and self.counts["li"] > 0
        return TextLine(prefix=" " * len(last.prefix) if in_item else "")

    def _add_run(self, text: str, *, marks: frozenset[str] | None = None) -> None:
        if self.breaks_line:
            self._new_line()
        line = self.lines[-1]
        line.quotes = self.quotes
        line.is_mono = bool(self.pre)
        if text:
            self.is_cell_empty = False
            line.runs.append((text, self.marks if marks is None else marks))
