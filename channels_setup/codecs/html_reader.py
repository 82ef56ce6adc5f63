"""HTML as lines of words with their formatting, and these lines as WhatsApp text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from urllib.parse import unquote

from .html_tokens import Tag, resolve_entities, tokenize_html
from .whatsapp_markup import CODE, MONO, parse_runs

BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option p pre section summary table "
    "tbody tfoot thead tr ul".split()
)
HIDDEN = frozenset(("script", "style", "head", "title", "template", "noscript", "svg", "object"))
VOID = frozenset("area base br col embed frame hr img input link meta param source track wbr".split())
LISTS = frozenset(("ul", "ol", "menu", "dir"))
LINKS = frozenset(("a", "video", "audio", "iframe"))
SIGNS = {
    **dict.fromkeys(("b", "strong", "h1", "h2", "h3", "h4", "h5", "h6"), "*"),
    **dict.fromkeys(("i", "em"), "_"),
    **dict.fromkeys(("s", "strike", "del"), "~"),
    **dict.fromkeys(("code", "kbd", "samp", "tt"), CODE),
}
STYLES = (
    ("*", re.compile(r"font-weight\s*:\s*(?P<on>bold|bolder|[6-9]00)?(?P<off>normal|lighter|[1-5]00)?", re.I)),
    ("_", re.compile(r"font-style\s*:\s*(?P<on>italic|oblique)?(?P<off>normal)?", re.I)),
    ("~", re.compile(r"text-decoration(?:-line)?\s*:\s*(?P<on>[^;]{0,40}line-through)?(?P<off>none)?", re.I)),
)
HIDES = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
SCHEMES = ("https://", "http://", "tg://", "viber://", "whatsapp://", "skype:", "geo:")
NUMBER_SCHEMES = ("tel:", "sms:", "callto:")
BLANK = re.compile(r"[ \t\r\n\f]+")
QUOTE, INDENT, MOST_INDENTS = "> ", "   ", 6

Run = tuple[str, frozenset[str]]


@dataclass(slots=True)
class TextLine:
    runs: list[Run] = field(default_factory=list)
    prefix: str = ""  # of a list's item: its sign or number; of the lines below it: as many spaces
    quotes: int = 0
    is_mono: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.prefix and not any(text.strip(" \t\n") for text, _ in self.runs)


@dataclass(slots=True)
class OpenElement:
    """An element that is not closed yet."""

    name: str
    signs: frozenset[str]
    is_hidden: bool = False
    address: str = ""  # of a link, with where its text began
    title: str = ""
    begin: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class OpenList:
    kind: str
    number: int = 1
    step: int = 1
    style: str = "1"


class HtmlReader:
    def __init__(self, html: str, *, is_bare: bool = False) -> None:
        self.is_bare = is_bare
        self.lines = [TextLine()]
        self.open: list[OpenElement] = []
        self.items_and_lists: list[str] = []  # names of those that are open
        self.counts: Counter[str] = Counter()
        self.lists: list[OpenList] = []
        self.signs: frozenset[str] = frozenset()
        self.hidden = self.pre = self.quotes = 0
        self.breaks_line = False  # before the next words
        self.is_first_cell = self.is_cell_empty = True
        every = list(tokenize_html(html))
        # Newlines mean something only where nothing else divides lines: somebody put a few tags into plain text.
        self.keeps_lines = not any(isinstance(one, Tag) and (one.name == "br" or one.name in BLOCKS) for one in every)
        for token in every:
            if isinstance(token, str):
                self._words(token)
            elif token.is_end:
                self._end(token.name)
            else:
                self._start(token)
        while self.open:
            self._pop()

    def text(self) -> str:
        lines = [_written(line, is_bare=self.is_bare) for line in _mono_blocks(self.lines)]
        return re.sub(r"\n{5,}", "\n\n\n\n", "\n".join(line.rstrip(" ") for line in lines)).strip("\n ")

    # --- what the tokens do ---------------------------------------------------------------------------------

    def _words(self, text: str) -> None:
        if self.hidden:
            return
        if self.pre or self.keeps_lines:
            lines = re.sub(r"\r\n?", "\n", text).split("\n")
            for number, line in enumerate(lines):
                if number:
                    self._new_line(always=True)
                if line:
                    self._add(resolve_entities(line))
            return
        words = resolve_entities(BLANK.sub(" ", text))
        if words.startswith(" ") and (self.breaks_line or self._ends_with_blank()):
            words = words[1:]
        if words:
            self._add(words)

    def _start(self, tag: Tag) -> None:
        name, attributes = tag.name, tag.attributes
        if self.hidden:
            if name not in VOID:
                self._push(OpenElement(name, self.signs))
            return
        if name == "br":
            self._new_line(always=True)
        elif name == "hr":
            self._break()
            self._add("———")
            self._break()
        elif name == "img":
            self._picture(attributes)
        elif name in ("td", "th"):
            self._cell(name)
        elif name in BLOCKS:
            self._block(name, attributes)
        if name == "q":
            self._add("“")
        if name in VOID:
            return
        style = attributes.get("style", "")[:1000]
        opened = OpenElement(name, self.signs, is_hidden=name in HIDDEN or bool(style and HIDES.search(style)))
        if name in LINKS:
            self._end(name)  # at most one of each is open, so that closing them reads each line four times at most
            opened.address = attributes.get("href" if name == "a" else "src", "").strip()
            opened.title = attributes.get("title", "").strip()
            opened.begin = self._place()
        self._push(opened)
        self.signs = self.signs | _signs(name, style) if name in SIGNS or style else self.signs
        self.signs -= _signs_off(style) if style else frozenset()

    def _end(self, name: str) -> None:
        if name == "br":
            self._new_line(always=True)
        elif name == "p" and not self.counts["p"]:
            self._break()
        if not self.counts[name]:
            return
        while self._pop() != name:
            pass
        if name == "q":
            self._add("”")

    def _push(self, opened: OpenElement) -> None:
        self.open.append(opened)
        if opened.name == "li" or opened.name in LISTS:
            self.items_and_lists.append(opened.name)
        self.counts[opened.name] += 1
        self.hidden += opened.is_hidden
        self.pre += opened.name == "pre"

    def _pop(self) -> str:
        last = self.open.pop()
        name = last.name
        self.counts[name] -= 1
        if name == "li" or name in LISTS:
            self.items_and_lists.pop()
        was_hidden = self.hidden
        self.hidden -= last.is_hidden
        self.pre -= name == "pre"
        if was_hidden:
            self.signs = last.signs
            return name
        if last.address:
            self._link(last)
        self.signs = last.signs
        if name == "blockquote":
            self.quotes -= 1
        elif name in LISTS and self.lists:
            self.lists.pop()
        if name in BLOCKS and name not in ("html", "body"):
            self._break()
        return name

    def _block(self, name: str, attributes: dict[str, str]) -> None:
        if name == "li":
            if self.lists and self._is_open_item():
                self._end("li")
            self._item(attributes)
        else:
            if name == "p" and self.counts["p"]:
                self._end("p")
            is_in_empty_cell = name in ("p", "div") and self.is_cell_empty and self.counts["tr"]
            if not is_in_empty_cell:
                self._break()
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

    def _item(self, attributes: dict[str, str]) -> None:
        self._new_line()
        within = self.lists[-1] if self.lists else OpenList("ul")
        sign = "• "
        if within.kind == "ol":
            value = attributes.get("value", "").strip()
            within.number = int(value) if re.fullmatch(r"-?\d{1,6}", value) else within.number
            sign = f"{_numeral(within.number, within.style)}. "
            within.number += within.step
        if not self.is_bare:
            self.lines[-1].prefix = INDENT * min(len(self.lists) - 1, MOST_INDENTS) + sign

    def _cell(self, name: str) -> None:
        if self.counts["td"] + self.counts["th"] and self.open[-1].name in ("td", "th"):
            self._pop()
        if not self.is_first_cell:
            self.breaks_line = False
            self._add(" " if self.is_bare else " | ")
        self.is_first_cell = False
        self.is_cell_empty = True

    def _picture(self, attributes: dict[str, str]) -> None:
        alt, source = attributes.get("alt", "").strip(), attributes.get("src", "").strip()
        hint = " ".join((attributes.get("class", ""), source, " ".join(attributes))).lower()
        is_emoji = bool(alt) and ("emoji" in hint or "smil" in hint or not any(sign.isalpha() for sign in alt))
        if is_emoji or attributes.get("width") == "1" or attributes.get("height") == "1":
            address = ""
        else:
            address = source if source.lower().startswith(("https://", "http://")) else ""
        if alt and not (attributes.get("width") == "1" and not is_emoji):
            self._add(alt)
            if address and not self.is_bare and address not in alt:
                self._add(f" ({address})")
        elif address:
            self._add(address)

    def _link(self, link: OpenElement) -> None:
        target, joint = _target(link.address)
        if not link.title and (not target or self.is_bare):
            return
        row, column = link.begin
        runs = self.lines[row].runs[column:] if row < len(self.lines) else []
        runs += chain.from_iterable(line.runs for line in self.lines[row + 1 :])
        shown = "".join(text for text, _ in runs).strip()
        if not shown and link.title:
            self._add(link.title)
            shown = link.title
        if not target or self.is_bare:
            return
        if not shown:
            self._add(target)
            return
        title = link.title if link.title and link.title not in (shown, target) else ""
        if _is_same(shown, target):
            if joint == "(" and target not in shown and row == len(self.lines) - 1:
                self.lines[row].runs[column:] = [(target, self.signs)]
            return
        target = f"{title}: {target}" if title else target
        self._add(f" ({target})" if joint == "(" else f": {target}", signs=self.signs - {CODE})

    # --- lines ----------------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        return (len(self.lines), 0) if self.breaks_line else (len(self.lines) - 1, len(self.lines[-1].runs))

    def _ends_with_blank(self) -> bool:
        runs = self.lines[-1].runs
        return not runs or runs[-1][0].endswith(" ")

    def _break(self) -> None:
        """The next words begin a line."""
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

    def _add(self, text: str, *, signs: frozenset[str] | None = None) -> None:
        if self.breaks_line:
            self._new_line()
        line = self.lines[-1]
        line.quotes = self.quotes
        line.is_mono = bool(self.pre)
        if text:
            self.is_cell_empty = False
            line.runs.append((text, self.signs if signs is None else signs))


# --- attributes ------------------------------------------------------------------------------------------


def _signs(name: str, style: str) -> frozenset[str]:
    found = {SIGNS[name]} if name in SIGNS else set()
    for sign, pattern in STYLES if style else ():
        match = pattern.search(style)
        if match and match["on"]:
            found.add(sign)
    return frozenset(found)


def _signs_off(style: str) -> frozenset[str]:
    matches = [(sign, pattern.search(style)) for sign, pattern in STYLES[:2]]
    return frozenset(sign for sign, match in matches if match and match["off"])


def _numeral(number: int, style: str) -> str:
    if style in ("a", "A") and 1 <= number <= 26:
        return chr(ord(style) + number - 1)
    return str(number)


def _target(address: str) -> tuple[str, str]:
    """What is to be read of a link's address, and how it follows the link's words; empty for what opens nothing."""
    lower = address.lower()
    if lower.startswith(NUMBER_SCHEMES):
        return unquote(address.split(":", 1)[1].split("?")[0].removeprefix("//")).strip(), ":"
    if lower.startswith("mailto:"):
        return unquote(address[7:].split("?")[0]).strip(), ":"
    if lower.startswith("//"):
        return f"https:{address}", "("
    return (address, "(") if lower.startswith(SCHEMES) else ("", "")


def _is_same(shown: str, target: str) -> bool:
    """Whether the words of a link say its address already."""
    if target.lower() in shown.lower():
        return True
    digits = re.sub(r"\D", "", target)
    if len(digits) > 5 and re.fullmatch(r"[+\d ()\xa0.-]+", target):
        return digits[-10:] in re.sub(r"\D", "", shown)
    bare = re.sub(r"^https?://(?:www\.)?", "", target.lower()).rstrip("/")
    return bare == re.sub(r"^(?:https?://)?(?:www\.)?", "", shown.lower()).rstrip("/")


# --- from lines to text ----------------------------------------------------------------------------------


def _mono_blocks(lines: Sequence[TextLine]) -> Iterable[TextLine]:
    """Lines of one <pre> become one line with WhatsApp's sign for several lines of code."""
    block: list[str] = []
    for line in [*lines, TextLine()]:
        if line.is_mono:
            block.append("".join(text for text, _ in line.runs))
            continue
        if block:
            yield TextLine(runs=[("\n".join(block), frozenset((MONO,)))])
            block = []
        yield line


def _written(line: TextLine, *, is_bare: bool) -> str:
    words = "".join(text for text, _ in line.runs)
    if is_bare:
        return words.replace("\xa0", " ")
    if line.runs and MONO in line.runs[0][1]:
        return f"{MONO}{words}{MONO}" if MONO not in words and words.strip() else words
    quote = QUOTE if line.quotes else ""
    return (quote + line.prefix + _with_signs(line.runs)).replace("\xa0", " ") if not line.is_empty else ""


def _with_signs(runs: Sequence[Run]) -> str:
    """The words with the signs of their formatting, where these will render; without them where they would not."""
    runs = _at_words(_around_words(runs))
    words = "".join(text for text, _ in runs)
    every: frozenset[str] = frozenset().union(*(signs for _, signs in runs)) if runs else frozenset()
    choices = [every, frozenset(sign for sign in every if sign not in words), *(frozenset((sign,)) for sign in every)]
    for kept in choices if every else ():
        wanted = _joined((text, signs & kept) for text, signs in runs)
        written = _signed(wanted)
        if parse_runs(written) == wanted:
            return written
    return words


def _joined(runs: Iterable[Run]) -> list[Run]:
    return [("".join(text for text, _ in group), signs) for signs, group in groupby(runs, key=itemgetter(1))]


def _around_words(runs: Sequence[Run]) -> list[Run]:
    """The blanks between two runs stand under the signs that both have."""
    pieces: list[tuple[str, frozenset[str]]] = []
    for text, signs in runs:
        core = text.strip(" \xa0\t")
        before, _core, after = text.partition(core) if core else (text, "", "")
        pieces += [(before, frozenset()), (core, signs), (after, frozenset())]
    pieces = [piece for piece in pieces if piece[0]]
    found: list[Run] = []
    last: frozenset[str] = frozenset()
    for number, (text, signs) in enumerate(pieces):
        if text.strip(" \xa0\t"):
            found.append((text, signs))
            last = signs
        else:
            following = pieces[number + 1][1] if number + 1 < len(pieces) else frozenset()
            found.append((text, last & following))
    return _joined(found)


def _at_words(runs: Sequence[Run]) -> list[Run]:
    """The runs without the signs that would stand within a word."""
    found = [(text, set(signs)) for text, signs in runs]
    for sign in {sign for _, signs in runs for sign in signs}:
        begin = None
        for at in range(len(runs) + 1):
            if at < len(runs) and sign in runs[at][1]:
                begin = at if begin is None else begin
            elif begin is not None:
                before = runs[begin - 1][0][-1:] if begin else ""
                after = runs[at][0][:1] if at < len(runs) else ""
                if before.isalnum() or after.isalnum():
                    for _, signs in found[begin:at]:
                        signs.discard(sign)
                begin = None
    return _joined((text, frozenset(signs)) for text, signs in found)


def _signed(runs: Sequence[Run]) -> str:
    parts: list[str] = []
    opened: list[str] = []
    for text, signs in [*runs, ("", frozenset[str]())]:
        while not signs.issuperset(opened):
            parts.append(opened.pop())
        for sign in ("*", "_", "~", CODE):
            if sign in signs and sign not in opened:
                opened.append(sign)
                parts.append(sign)
        parts.append(text)
    return "".join(parts)
