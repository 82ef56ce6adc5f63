"""Comments are HTML, chats are WhatsApp text: from one to the other and back, without losing a reader's words.

From HTML: bold, italic, struck and code words get WhatsApp's signs where these will render, else they stay plain;
lists keep bullets and numbers, quotes their "> ", links their address, emoji pictures their emoji.
"""

from __future__ import annotations

import re

from .html_reader import HtmlReader
from .html_tokens import has_tags, resolve_entities
from .whatsapp_markup import CODE, MONO, render_inline_html

MAX_LENGTH = 64 * 1024  # characters of HTML that are read; a caller that can refuse does so before
HTML_ELEMENTS = {"*": "b", "_": "i", "~": "s", CODE: "code", MONO: "pre"}
_DATA = re.compile(r"data:[\w/+.-]{1,80};base64,[A-Za-z0-9+/=\s%]*+", re.IGNORECASE)


def html_to_text(html: str) -> str:
    """Return the HTML as WhatsApp text; of a text without any tag only the entities are resolved."""
    html = _cut(html)
    if not has_tags(html):
        return resolve_entities(html).strip()
    return HtmlReader(html).text()


def html_to_visible_text(html: str) -> str:
    """Return what a reader sees, for comparing texts: without the signs and addresses that ``html_to_text`` adds."""
    html = _cut(html)
    if not has_tags(html):
        return resolve_entities(html).strip()
    return HtmlReader(html, is_bare=True).text()


def text_to_html(text: str) -> str:
    """Return WhatsApp text as the HTML of a comment: escaped, lines and spaces kept, its formatting as elements."""
    html = render_inline_html(text, HTML_ELEMENTS)
    html = html.replace("\t", "\xa0\xa0\xa0 ")
    html = re.sub(r"(?<=\n)  *|^  *|  +", lambda spaces: "\xa0" * len(spaces[0]), html)
    return "<p>" + html.replace("\xa0", "&nbsp;").replace("\n", "<br>") + "</p>"


def _cut(html: str) -> str:
    """Pictures within the HTML count for nothing; of the rest, the beginning."""
    if len(html) > MAX_LENGTH:
        html = _DATA.sub("", html)
    return html if len(html) <= MAX_LENGTH else html[:MAX_LENGTH].rsplit("<", 1)[0] + "…"
