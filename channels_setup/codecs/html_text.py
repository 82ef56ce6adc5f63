"""Conversion between the HTML of helpdesk comments and the text of WhatsApp chats, in both directions.

HTML to text: bold, italic, struck and code words get WhatsApp's formatting marks where WhatsApp renders them, and are
plain elsewhere. Lists keep bullets and numbers, quotes their "> ", links their address, emoji pictures their emoji.
"""

from __future__ import annotations

import re

from .html_reader import HtmlReader
from .html_tokens import has_tags, resolve_entities
from .whatsapp_markup import CODE, MONO, render_inline_html

MAX_LENGTH = 64 * 1024  # characters of HTML that are read; callers that can refuse longer HTML do so first
HTML_ELEMENTS = {"*": "b", "_": "i", "~": "s", CODE: "code", MONO: "pre"}
_DATA = re.compile(r"data:[\w/+.-]{1,80};base64,[A-Za-z0-9+/=\s%]*+", re.IGNORECASE)


def html_to_text(html: str) -> str:
    """Return the HTML as WhatsApp text. In a text without tags only entities are resolved."""
    html = _limit_length(html)
    if not has_tags(html):
        return resolve_entities(html).strip()
    return HtmlReader(html).text()


def html_to_visible_text(html: str) -> str:
    """Return only the words that a reader sees, without added marks and addresses, to compare texts."""
    html = _limit_length(html)
    if not has_tags(html):
        return resolve_entities(html).strip()
    return HtmlReader(html, is_bare=True).text()


def text_to_html(text: str) -> str:
    """Return WhatsApp text as the HTML of a comment: escaped, with its lines, spaces and formatting."""
    html = render_inline_html(text, HTML_ELEMENTS)
    html = html.replace("\t", "\xa0\xa0\xa0 ")
    html = re.sub(r"(?<=\n)  *|^  *|  +", lambda spaces: "\xa0" * len(spaces[0]), html)
    return "<p>" + html.replace("\xa0", "&nbsp;").replace("\n", "<br>") + "</p>"


def _limit_length(html: str) -> str:
    """Limit the HTML to ``MAX_LENGTH`` characters, dropping embedded pictures before cutting the end."""
    if len(html) > MAX_LENGTH:
        html = _DATA.sub("", html)
    return html if len(html) <= MAX_LENGTH else html[:MAX_LENGTH].rsplit("<", 1)[0] + "…"
