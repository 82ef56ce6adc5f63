"""What is searched, as PostgreSQL's full text: one expression each, the same in the index and in the question.

The Russian configuration stems Russian words as Russian and Latin ones as English, so one index serves both. Nothing
outside PostgreSQL's own core is needed: a part of a phone is found as the beginning of one of the phone's endings.
"""

from __future__ import annotations

import re

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Left, Replace, Right

SHORTEST_NUMBER, LONGEST_NUMBER = 3, 13  # digits of a part of a phone
LONGEST_TEXT = 4_000  # characters of a message that are searched; a tsvector has an upper limit, a message has none
MOST_WORDS = 8
WORD = re.compile(r"\w+")


def contact_words() -> SearchVector:
    """The name as it is written, and every ending of the phone."""
    endings = [Right("phone", length) for length in range(SHORTEST_NUMBER, LONGEST_NUMBER + 1)]
    return SearchVector(_plain(F("name")), *endings, config="simple")


def message_words() -> SearchVector:
    return SearchVector(_plain(Left("text", LONGEST_TEXT)), config="russian")


def _plain(words: Combinable) -> Func:
    """With е for ё, which people write as they please."""
    return Replace(Replace(words, Value("ё"), Value("е")), Value("Ё"), Value("Е"))


def person(query: str) -> SearchQuery | None:
    """Contacts whose name's words begin like these, or whose phone has these digits in it; None: nothing asked."""
    digits = "".join(character for character in query if character.isdigit())
    is_number = bool(digits) and not any(character.isalpha() for character in query)
    if is_number:
        return _number(digits) if len(digits) >= SHORTEST_NUMBER else None
    return _all_of(_words(query), config="simple")


def _number(digits: str) -> SearchQuery:
    """The beginning of a number; a Russian one may begin with 8 where 7 is stored."""
    beginnings = (
        [digits] if not digits.startswith("8") or len(digits) == SHORTEST_NUMBER else [digits, f"7{digits[1:]}"]
    )
    asked = " | ".join(f"'{one[:LONGEST_NUMBER]}':*" for one in beginnings)
    return SearchQuery(asked, config="simple", search_type="raw")


def said(query: str) -> SearchQuery | None:
    """Messages with all these words in any of their forms; the last one may be the beginning of a word."""
    return _all_of([word for word in _words(query) if len(word) > 1], config="russian")


def _words(query: str) -> list[str]:
    return WORD.findall(query.lower().replace("ё", "е"))[:MOST_WORDS]


def _all_of(found: list[str], *, config: str) -> SearchQuery | None:
    if not found:
        return None
    # Word characters alone: nothing in them has a meaning to PostgreSQL's parser.
    asked = " & ".join(f"'{word}':*" if config == "simple" else f"'{word}'" for word in found[:-1])
    last = f"'{found[-1]}':*"
    return SearchQuery(f"{asked} & {last}" if asked else last, config=config, search_type="raw")
