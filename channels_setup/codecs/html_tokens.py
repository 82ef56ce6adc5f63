"""HTML tokenizer: tags and text, in time linear in the input.

The standard library's parser takes minutes for 64 KB of "<". This tokenizer ends a tag at its ">". After the first tag
with an unclosed quote it ignores quotes, so that no input is read twice. Anything that is not an HTML element, such as
"<anna@example.com>" or "5 < 6", is text, so that no written words get lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

HTML_ELEMENTS = frozenset(
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big blockquote body "
    "br button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir "
    "div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head "
    "header hgroup hr html i iframe img input ins kbd label legend li link main map mark menu meta meter "
    "nav nobr noframes noscript object ol optgroup option output p param picture pre progress q rp rt "
    "ruby s samp script section select small source span strike strong style sub summary sup svg table "
    "tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr ".split()
)
RAW_TEXT_ELEMENTS = frozenset(("script", "style", "title", "textarea"))  # their content has no tags
MAX_ATTRIBUTES = 20  # of one tag; the others are ignored

MAX_ENTITY = 34
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]*+)")
_QUOTED_PART = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]*+)((?:[^<>\"'=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+')?|[\"'])*+)")
_QUOTED_TAG = re.compile(f"{_QUOTED_PART.pattern}>")
_PLAIN_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]*+)([^<>]*+)>")
_ATTRIBUTE = re.compile(r"([a-zA-Z][\w:.-]{0,40})(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++)))?+")
_BOGUS = re.compile(r"<(?:!(?:doctype\b|\[)|\?(?:xml|php)\b)[^>]*+>", re.IGNORECASE)
_ENTITY = re.compile(
    r"&(?:#(?:\d++|[xX][0-9a-fA-F]++);?+|[a-zA-Z][a-zA-Z0-9]{1,31};|(?:nbsp|amp|lt|gt|quot)(?![=\w;]))"
)


class Tag(NamedTuple):
    """A start or end tag; names are lowercase."""

    name: str
    attributes: dict[str, str]
    is_end: bool = False


def resolve_entities(text: str) -> str:
    """Replace complete entities with their characters. A query string keeps its "&copy=1"."""
    return _ENTITY.sub(_resolve_entity, text) if "&" in text else text


def _resolve_entity(entity: re.Match[str]) -> str:
    return unescape(entity[0]) if len(entity[0]) <= MAX_ENTITY else "\ufffd"


def has_tags(html: str) -> bool:
    """Tell whether a text holds any HTML tag."""
    return any(isinstance(token, Tag) for token in tokenize_html(html))


def tokenize_html(html: str) -> Iterator[Tag | str]:
    """Yield tags, and pieces of text whose entities are not resolved yet."""
    at = begin = 0
    last_end = html.rfind(">")
    last_comment_end = html.rfind("-->")
    tag_at = _QUOTED_TAG
    while 0 <= (at := html.find("<", at)) < last_end:
        if html.startswith("<!--", at):
            end = html.find("-->", at + 4) if at + 4 <= last_comment_end else -1
            if end < 0:
                end = html.find(">", at) - 2
            yield from _read_text(html[begin:at])
            at = begin = end + 3
            continue
        is_bogus = html[at + 1] in "!?"
        if not is_bogus and not ((name_at := _NAME.match(html, at)) and _is_element(name_at[1])):
            at += 1
            continue
        match = (_BOGUS if is_bogus else tag_at).match(html, at)
        if match is None and not is_bogus and tag_at is _QUOTED_TAG and _has_misleading_quotes(html, at):
            tag_at = _PLAIN_TAG
            continue
        if match is None:
            at += 1
            continue
        yield from _read_text(html[begin:at])
        at = begin = match.end()
        if is_bogus:
            continue
        name = match[2].lower()
        yield Tag(name, {} if match[1] else _read_attributes(match[3]), is_end=bool(match[1]))
        if name in RAW_TEXT_ELEMENTS and not match[1] and not match[3].endswith("/"):
            at = _end_of_raw(html, name, begin)
            yield from _read_text(html[begin:at])
            begin = at
    yield from _read_text(html[begin:])


def _has_misleading_quotes(html: str, at: int) -> bool:
    """Tell whether the quotes of an unfinished tag hide its ">" or the next "<"."""
    part = _QUOTED_PART.match(html, at)
    return bool(_PLAIN_TAG.match(html, at)) or (part is not None and 0 <= html.find("<", at + 1) < part.end())


def _is_element(name: str) -> bool:
    return name.lower() in HTML_ELEMENTS or ":" in name


def _read_text(text: str) -> Iterator[str]:
    if text:
        yield text


def _end_of_raw(html: str, name: str, at: int) -> int:
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(html, at)
    return end.start() if end else len(html)


def _read_attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if "=" not in text:
        return found
    for number, match in enumerate(_ATTRIBUTE.finditer(text)):
        if number == MAX_ATTRIBUTES:
            break
        value = next((value for value in match.groups()[1:] if value is not None), "")
        found.setdefault(match[1].lower(), resolve_entities(value))
    return found
