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
WORD = re.compile(r"\w+")
MONO = re.compile(r"```(.+?)```", re.DOTALL)


def whatsapp_html(text: str) -> SafeString:
    """The text as safe HTML."""
    pieces = MONO.split(text.replace("\r\n", "\n"))
    html = "".join(
        f"<code>{escape(piece.strip())}</code>" if index % 2 else _with_links(piece)
        for index, piece in enumerate(pieces)
    )
    return mark_safe(html)


def around(text: str, query: str) -> SafeString:
    """The few words around the first that a search asked for, that one marked; it may stand there in another form."""
    plain = " ".join(text.split())
    beginnings = [word[: max(3, min(len(word) - 1, 6))] for word in WORD.findall(query.replace("ё", "е"))]
    found = None
    if beginnings:
        found = re.search(rf"\b(?:{'|'.join(map(re.escape, beginnings))})\w*", plain.replace("ё", "е"), re.IGNORECASE)
    if found is None:
        return mark_safe(escape(plain[:120]))
    begin = max(found.start() - 10, 0)
    begin = plain.rfind(" ", 0, begin) + 1 if begin else 0
    before, after = plain[begin : found.start()], plain[found.end() : found.end() + 90]
    word = plain[found.start() : found.end()]
    return mark_safe(f"{'… ' if begin else ''}{escape(before)}<mark>{escape(word)}</mark>{escape(after)}")


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
