"""WhatsApp's own formatting as safe HTML: *bold*, _italic_, ~struck~, ```mono```, and links.

One pass from left to right: a sign opens where a word begins and closes where one ends, on the same line, as on
the phone. Everything else is escaped; nothing but these five elements and <br> can come out.
"""

from __future__ import annotations

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

ELEMENTS = {"*": "strong", "_": "em", "~": "s"}
MONO = "```"
LINK = re.compile(r"https?://[^\s<>\"'`]+")
AFTER_LINK = ".,;:!?)]}»”*_~"


def to_html(text: str) -> SafeString:
    """The text as the phone shows it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces = text.split(MONO)
    html = []
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            html.append(_formatted(piece))
        elif index == len(pieces) - 1 or not piece.strip():
            html.append(MONO + _formatted(piece) + (MONO if index < len(pieces) - 1 else ""))  # opened, not closed
        else:
            html.append(f"<code>{escape(piece)}</code>")
    return mark_safe("".join(html).replace("\n", "<br>"))


def _formatted(text: str) -> str:
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    links = {match.start(): _trimmed(match[0]) for match in LINK.finditer(line)}
    html: list[str] = []
    opened: list[tuple[str, int, int]] = []  # sign, where in html, where in the line
    at = 0
    while at < len(line):
        sign = line[at]
        if link := links.get(at):
            html.append(_anchor(link))
            at += len(link)
            continue
        if sign in ELEMENTS and not _closed(sign, at, line, opened, html):
            if _opens(line, at) and all(sign != other for other, _, _ in opened):
                opened.append((sign, len(html), at))
            html.append(sign)
        elif sign not in ELEMENTS:
            html.append(escape(sign))
        at += 1
    return "".join(html)


def _closed(sign: str, at: int, line: str, opened: list[tuple[str, int, int]], html: list[str]) -> bool:
    """Close what this sign opened, dropping what was opened inside and never closed."""
    found = next((number for number, (other, _, _) in enumerate(opened) if other == sign), None)
    if found is None or not _closes(line, at) or opened[found][2] == at - 1:
        return False
    html[opened[found][1]] = f"<{ELEMENTS[sign]}>"
    html.append(f"</{ELEMENTS[sign]}>")
    del opened[found:]
    return True


def _opens(line: str, at: int) -> bool:
    return (at == 0 or not line[at - 1].isalnum()) and at + 1 < len(line) and not line[at + 1].isspace()


def _closes(line: str, at: int) -> bool:
    return not line[at - 1].isspace() and (at + 1 == len(line) or not line[at + 1].isalnum())


def _trimmed(link: str) -> str:
    return link.rstrip(AFTER_LINK)


def _anchor(link: str) -> str:
    shown = escape(link)
    return f'<a href="{shown}" target="_blank" rel="noopener noreferrer nofollow">{shown}</a>'
