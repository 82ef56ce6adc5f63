"""Full-text search: the same expressions for indexes and queries.

The Russian configuration stems Russian words as Russian and Latin words as English, so one index serves both. No
PostgreSQL extension is needed: part of a phone number matches as the prefix of one of its suffixes.
"""

from __future__ import annotations

import re

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Left, Replace, Right

SHORTEST_NUMBER, LONGEST_NUMBER = 3, 13  # digits of a partial phone number
LONGEST_TEXT = 4_000  # searched characters of a message; a tsvector has a size limit
MOST_WORDS = 8
WORD = re.compile(r"\w+")


def build_contact_vector() -> SearchVector:
    """Return the search vector of a contact: the name, and every suffix of the phone."""
    endings = [Right("phone", length) for length in range(SHORTEST_NUMBER, LONGEST_NUMBER + 1)]
    return SearchVector(_replace_yo(F("name")), *endings, config="simple")


def build_name_vector() -> SearchVector:
    """Return the search vector of a contact's name alone. It has no index."""
    return SearchVector(_replace_yo(F("name")), config="simple")


def build_message_vector() -> SearchVector:
    return SearchVector(_replace_yo(Left("text", LONGEST_TEXT)), config="russian")


def build_note_vector() -> SearchVector:
    """Return the search vector of a note in a thread. Its mentions are user IDs."""
    return SearchVector(_replace_yo(Left("text", LONGEST_TEXT)), config="russian")


def _replace_yo(words: Combinable) -> Func:
    """Replace ё with е, because people write both."""
    return Replace(Replace(words, Value("ё"), Value("е")), Value("Ё"), Value("Е"))


def build_contact_query(query: str) -> SearchQuery | None:
    """Return the query for contacts by name prefixes or phone digits. None if there is nothing to search for."""
    digits = "".join(character for character in query if character.isdigit())
    is_number = bool(digits) and not any(character.isalpha() for character in query)
    if is_number:
        return _match_number(digits) if len(digits) >= SHORTEST_NUMBER else None
    return _match_all_words(_split_words(query), config="simple")


def _match_number(digits: str) -> SearchQuery:
    """Return the query for phone digits. A Russian number may begin with 8 instead of the stored 7."""
    beginnings = (
        [digits] if not digits.startswith("8") or len(digits) == SHORTEST_NUMBER else [digits, f"7{digits[1:]}"]
    )
    asked = " | ".join(f"'{one[:LONGEST_NUMBER]}':*" for one in beginnings)
    return SearchQuery(asked, config="simple", search_type="raw")


def build_message_query(query: str) -> SearchQuery | None:
    """Return the query for messages with all words in any form. The last word may be a prefix."""
    return _match_all_words([word for word in _split_words(query) if len(word) > 1], config="russian")


def _split_words(query: str) -> list[str]:
    return WORD.findall(query.lower().replace("ё", "е"))[:MOST_WORDS]


def _match_all_words(found: list[str], *, config: str) -> SearchQuery | None:
    if not found:
        return None
    # Only word characters: no tsquery syntax is possible.
    asked = " & ".join(f"'{word}':*" if config == "simple" else f"'{word}'" for word in found[:-1])
    last = f"'{found[-1]}':*"
    return SearchQuery(f"{asked} & {last}" if asked else last, config=config, search_type="raw")
