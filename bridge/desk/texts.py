"""A message's text as WhatsApp shows it: *bold*, _italic_, ~struck~, ```mono```, links; everything else is plain.

Escaped first, marked up after, so nothing a client writes can become markup of its own.
"""

from __future__ import annotations

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

LINK = re.compile(r"https?://[^\s<>\"'`]{3,2000}", re.IGNORECASE)
AFTER_LINK = ".,;:!?)»”*_~"  # belongs to the sentence, not to the address

# A mark opens at the edge of a word and closes on the same line at the edge of a word, as WhatsApp has it.
MARKS = tuple(
    (re.compile(rf"(?<![\w{mark}]){mark}(?=[^\s{mark}])([^\n{mark}]{{1,2000}}?)(?<=\S){mark}(?![\w{mark}])"), tag)
    for mark, tag in ((r"\*", "strong"), ("_", "em"), ("~", "s"))
)
MONO = re.compile(r"```(.+?)```", re.DOTALL)


def whatsapp_html(text: str) -> SafeString:
    """The text as safe HTML."""
    pieces = MONO.split(text.replace("\r\n", "\n"))
    html = "".join(
        f"<code>{escape(piece.strip())}</code>" if index % 2 else _with_links(piece)
        for index, piece in enumerate(pieces)
    )
    return mark_safe(html)


def _with_links(text: str) -> str:
    parts, end = [], 0
    for found in LINK.finditer(text):
        address = found.group().rstrip(AFTER_LINK)
        parts.append(_marked(text[end : found.start()]))
        safe = escape(address)
        parts.append(f'<a href="{safe}" target="_blank" rel="noopener noreferrer nofollow">{safe}</a>')
        end = found.start() + len(address)
    return "".join(parts) + _marked(text[end:])


def _marked(text: str) -> str:
    html = str(escape(text))
    for pattern, tag in MARKS:
        html = pattern.sub(rf"<{tag}>\1</{tag}>", html)
    return html
