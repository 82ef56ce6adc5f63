"""Excerpts around search hits."""

from __future__ import annotations

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from bridge.models.search import split_words


def excerpt_around(text: str, query: str) -> SafeString:
    """Return the text around the first match, with the match in ``<mark>``. Matches other word forms by prefix."""
    plain = " ".join(text.split())
    beginnings = [word[: max(3, min(len(word) - 1, 6))] for word in split_words(query)]
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
