"""WhatsApp's text formatting as safe HTML: the only renderer, for messages and templates alike.

*bold*, _italic_, ~struck~, `code` and ```mono```; lines that begin with "- ", "* ", "1. " or "> " are lists and quotes;
web addresses, email addresses and phone numbers are links. A mark opens where a word begins and closes where a word
ends on the same line, as in WhatsApp. Everything else is escaped, so the output holds only the elements named here.
One pass from left to right; time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from django.utils.safestring import SafeString

MONO, CODE = "```", "`"
ELEMENTS = {"*": "strong", "_": "em", "~": "s"}

LINK = re.compile(
    r"(?P<web>https?://[^\s<>\"'`]+)"
    r"|(?<![\w.+@-])(?P<mail>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})(?![\w@-])"
    r"|(?<![\w+.,:/#№-])(?P<phone>\+?\d[\d ()\u00a0-]{6,22}\d)(?![\w-]|[.,:/]\d)",
    re.IGNORECASE,
)
# Every line with a mark or a link has one of these. Most lines have none.
MARK_OR_LINK = re.compile(r"[*_~`@]|://|\d[\d ()\u00a0-]{6}")
AFTER_LINK = frozenset(".,;:!?…'»”*_~")
CLOSING = {")": "(", "]": "[", "}": "{"}
BLOCK = re.compile(
    r"(?P<bullet>(?:-|\*(?!.* \*$)) +(?=\S))|(?P<number>(?P<value>\d{1,4})\. +(?=\S))|(?P<quote>> ?(?=\S))"
)


class MarkupToken(NamedTuple):
    kind: str  # text, open, close, code, web, mail or phone
    text: str  # of open and close: the formatting mark


def render_html(text: str) -> SafeString:
    """Return the text as WhatsApp shows it on a phone."""
    html: list[str] = []
    for is_mono, piece in _split_code(_with_plain_line_ends(text)):
        if is_mono:
            html.append("<code>" + escape(piece).replace("\n", "<br>") + "</code>")
        else:
            html.append(_lines_html(piece.split("\n")))
    return SafeString("".join(html))


def render_inline_html(text: str, elements: Mapping[str, str]) -> str:
    """Return the text with formatted words in the given elements (mark → element name).

    Line breaks, links and lists remain as typed.
    """
    html: list[str] = []
    for is_mono, piece in _split_code(_with_plain_line_ends(text)):
        if is_mono:
            html.append(f"<{elements[MONO]}>{escape(piece, quote=False)}</{elements[MONO]}>")
            continue
        for token in _render_tokens(piece.split("\n"), links=False):
            if token.kind in ("open", "close"):
                html.append(f"<{'/' * (token.kind == 'close')}{elements[token.text]}>")
            elif token.kind == "code":
                html.append(f"<{elements[CODE]}>{escape(token.text, quote=False)}</{elements[CODE]}>")
            else:
                html.append(escape(token.text, quote=False))
    return "".join(html)


def parse_runs(line: str) -> list[tuple[str, frozenset[str]]]:
    """Split a line into runs of words with equal formatting marks."""
    found: list[tuple[str, frozenset[str]]] = []
    marks: frozenset[str] = frozenset()
    for token in tokenize_line(line):
        if token.kind == "open":
            marks |= {token.text}
        elif token.kind == "close":
            marks -= {token.text}
        else:
            found.append((token.text, marks | {CODE} if token.kind == "code" else marks))
    return [("".join(text for text, _ in group), own) for own, group in groupby(found, key=itemgetter(1))]


def tokenize_line(line: str, *, links: bool = True) -> list[MarkupToken]:
    """Split one line into text, code, links, and the marks that open and close formatting."""
    if not MARK_OR_LINK.search(line):
        return [MarkupToken("text", line)] if line else []
    found: list[MarkupToken] = []
    opened: list[tuple[str, int, int]] = []  # mark, its index in found, its position in the line
    addresses = {match.start(): match for match in LINK.finditer(line)} if links or "://" in line else {}
    at = begin = 0
    last_code = line.rfind(CODE)
    while at < len(line):
        mark, token, end = line[at], None, at + 1
        if at in addresses and (address := _match_address(addresses[at])) and (links or address.kind == "web"):
            token, end = address, at + len(address.text)
        elif mark == CODE and at < last_code and (close := line.find(CODE, at + 1)) > at + 1:
            if line[at + 1 : close].strip():
                token, end = MarkupToken("code", line[at + 1 : close]), close + 1
        elif mark in ELEMENTS:
            token = _mark_token(line, at, opened, found)
        if token is not None:
            if begin < at:
                found.append(MarkupToken("text", line[begin:at]))
            if token.kind == "close":
                _close_mark(token.text, opened, found)
            elif token.kind == "open":
                opened.append((mark, len(found), at))
                token = MarkupToken("text", mark)  # remains text unless a later mark closes it
            found.append(token)
            begin = end
        at = end
    if begin < len(line):
        found.append(MarkupToken("text", line[begin:]))
    return found


def _mark_token(line: str, at: int, opened: list[tuple[str, int, int]], found: list[MarkupToken]) -> MarkupToken | None:
    mark = line[at]
    place = next((place for other, _, place in opened if other == mark), None)
    if place is not None:
        closes = not line[at - 1].isspace() and (at + 1 == len(line) or not line[at + 1].isalnum())
        return MarkupToken("close", mark) if closes and place != at - 1 else None
    opens = (at == 0 or not line[at - 1].isalnum()) and at + 1 < len(line) and not line[at + 1].isspace()
    return MarkupToken("open", mark) if opens else None


def _close_mark(mark: str, opened: list[tuple[str, int, int]], found: list[MarkupToken]) -> None:
    """Make the opening mark of this closing one a token, and forget unclosed marks between the two."""
    number = next(number for number, (other, _, _) in enumerate(opened) if other == mark)
    found[opened[number][1]] = MarkupToken("open", mark)
    del opened[number:]


def _match_address(match: re.Match[str]) -> MarkupToken | None:
    kind = str(match.lastgroup)
    text = match[0]
    if kind == "web":
        text = trim_link(text)
        return MarkupToken(kind, text) if len(text) > text.index("://") + 3 else None
    if kind == "phone":
        digits = sum(character.isdigit() for character in text)
        is_long_enough = 8 <= digits <= 15 if text[0] == "+" else digits == 11 and text[0] in "78"
        return MarkupToken(kind, text) if is_long_enough and text.count("(") == text.count(")") else None
    return MarkupToken(kind, text.rstrip("-"))


def trim_link(address: str) -> str:
    """Return a web address without the punctuation that belongs to the sentence around it."""
    end = len(address)
    counts = {mark: address.count(mark) for pair in CLOSING.items() for mark in pair}
    while end:
        last = address[end - 1]
        if last in CLOSING and counts[last] > counts[CLOSING[last]]:
            counts[last] -= 1
        elif last not in AFTER_LINK:
            break
        end -= 1
    return address[:end]


# --- blocks ----------------------------------------------------------------------------------------------


def _with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split_code(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is inside ```, text) by turns. A ``` that is unclosed or holds nothing is text."""
    pieces = text.split(MONO)
    plain = [pieces[0]]
    for index, piece in enumerate(pieces[1:], 1):
        is_mono = index % 2 == 1 and index < len(pieces) - 1 and piece.strip()
        if is_mono:
            yield False, "".join(plain)
            plain = []
            yield True, piece.strip("\n")
        elif index % 2 == 1:
            plain += [MONO, piece] if index == len(pieces) - 1 else [MONO, piece, MONO]
        else:
            plain.append(piece)
    yield False, "".join(plain)


def _render_tokens(lines: list[str], *, links: bool) -> Iterator[MarkupToken]:
    for number, line in enumerate(lines):
        if number:
            yield MarkupToken("text", "\n")
        yield from tokenize_line(line, links=links)


def _lines_html(lines: list[str]) -> str:
    html: list[str] = []
    within = ""
    for number, line in enumerate(lines):
        match = BLOCK.match(line)
        kind = "ul" if match and match["bullet"] else "ol" if match and match["number"] else "quote" if match else ""
        if within and kind != within:
            html.append(CLOSE[within])
        elif (number and not within and not kind) or within == "quote":
            html.append("<br>")
        if kind and kind != within:
            html.append(OPEN[kind])
        rest = _line_html(line[match.end() :] if match else line)
        if kind == "ol" and match:
            rest = f'<li value="{int(match["value"])}">{rest}</li>'
        elif kind == "ul":
            rest = f"<li>{rest}</li>"
        html.append(rest)
        within = kind
    if within:
        html.append(CLOSE[within])
    return "".join(html)


OPEN = {"ul": "<ul>", "ol": "<ol>", "quote": "<blockquote>"}
CLOSE = {"ul": "</ul>", "ol": "</ol>", "quote": "</blockquote>"}


def _line_html(line: str) -> str:
    return "".join(map(_token_html, tokenize_line(line)))


def _token_html(token: MarkupToken) -> str:
    kind, text = token
    if kind in ("open", "close"):
        return f"<{'/' * (kind == 'close')}{ELEMENTS[text]}>"
    shown = escape(text)
    if kind == "code":
        return f"<code>{shown}</code>"
    if kind == "web":
        return f'<a href="{shown}" target="_blank" rel="noopener noreferrer nofollow">{shown}</a>'
    if kind == "mail":
        return f'<a href="mailto:{shown}">{shown}</a>'
    if kind == "phone":
        digits = "".join(character for character in text if character.isdigit())
        return f'<a href="tel:{"+" * (text[0] == "+")}{digits}">{shown}</a>'
    return shown
