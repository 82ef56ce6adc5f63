"""Comments are HTML, chats are plain text: from one to the other and back, losing nothing that a reader would miss."""

from __future__ import annotations

import re
from html import escape, unescape
from html.parser import HTMLParser

BLOCKS = frozenset(
    ("p", "div", "li", "ul", "ol", "tr", "table", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
)
HIDDEN = frozenset(("script", "style", "head", "title", "template"))
_TAG = re.compile(r"<\s*/?\s*[a-zA-Z!][^<>]*>")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.links: list[tuple[str, int]] = []  # (address, where its text begins)
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self.hidden += 1
        elif tag == "br":
            self.parts.append("\n")
        elif tag in BLOCKS:
            self._new_line()
            if tag == "li":
                self.parts.append("• ")
        elif tag == "a":
            self.links.append((dict(attrs).get("href") or "", len(self.parts)))
        elif tag == "img" and (address := dict(attrs).get("src") or "").lower().startswith(("https://", "http://")):
            self.parts.append(address)

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        elif tag in BLOCKS:
            self._new_line()
        elif tag == "a" and self.links:
            address, begin = self.links.pop()
            shown = "".join(self.parts[begin:]).strip()
            if address.lower().startswith(("https://", "http://")) and address not in shown:
                self.parts.append(f" {address}" if shown else address)

    def handle_data(self, data: str) -> None:
        words = re.sub(r"[ \t\r\n]+", " ", data)
        between_blocks = words == " " and (not self.parts or self.parts[-1].endswith("\n"))
        if not self.hidden and not between_blocks:
            self.parts.append(words)

    def _new_line(self) -> None:
        if self.parts and not self.parts[-1].endswith("\n"):
            self.parts.append("\n")


def text_of(html: str) -> str:
    """What a reader of the HTML sees, as plain text; a text without any tag only has its entities resolved."""
    if not _TAG.search(html):
        return unescape(html).strip()
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = "".join(reader.parts).replace("\xa0", " ").split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()


def html_of(text: str) -> str:
    """Plain text as the HTML of a comment: escaped, lines kept."""
    return "<p>" + escape(text, quote=False).replace("\n", "<br>") + "</p>"
