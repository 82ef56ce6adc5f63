"""Full-text search: the same expressions for indexes and queries.

The Russian configuration stems Russian words as Russian and Latin words as English, so one index serves both. No
PostgreSQL extension is needed: part of a phone number matches as the prefix of one of its suffixes.
"""

from __future__ import annotations

import re
import unicodedata

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import CharField, F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Left, Replace, Right

SHORTEST_NUMBER, LONGEST_NUMBER = 3, 13  # digits of a partial phone number
LONGEST_TEXT = 4_000  # searched characters of a message; a tsvector has a size limit
MOST_WORDS = 8
# Everything that is not part of a word, by code point: punctuation, symbols, emoji. PostgreSQL's own parser decides by
# the database's locale, and with ctype C takes "«Нева»" for one word. "/" and "." would make paths and host names.
SEPARATORS = (
    r"[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7"
    r"\u0589-\u05c7\u060c\u061b\u061f\u066a-\u066d\u06d4\u2000-\u2bff\u2e00-\u2e7f\u3000-\u303f\ue000-\uf8ff"
    r"\ufe00-\ufe6f\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff\U0001f000-\U0001ffff"
    r"\U000e0000-\U000e0fff]+"
)
COMBINING = r"[\u0300-\u036f\u0483-\u0487]+"  # accents that NFKC leaves: stress marks
SEPARATOR, ACCENT = re.compile(SEPARATORS), re.compile(COMBINING)


def build_contact_vector() -> SearchVector:
    """Return the search vector of a contact: the name, and every suffix of the phone."""
    endings = [Right("phone", length) for length in range(SHORTEST_NUMBER, LONGEST_NUMBER + 1)]
    return SearchVector(_plain(F("name")), *endings, config="simple")


def build_name_vector() -> SearchVector:
    """Return the search vector of a contact's name alone. It has no index."""
    return SearchVector(_plain(F("name")), config="simple")


def build_message_vector() -> SearchVector:
    """Return the search vector of a message, or of a note."""
    return SearchVector(_plain(Left("text", LONGEST_TEXT)), config="russian")


def _plain(words: Combinable) -> Func:
    """Return the words between spaces, in compatibility form and without accents. ``split_words`` does the same."""
    spaced = Func(words, Value(SEPARATORS), Value(" "), Value("g"), function="regexp_replace", output_field=CharField())
    composed = Func(spaced, template="normalize(%(expressions)s, NFKC)", output_field=CharField())
    plain = Func(composed, Value(COMBINING), Value(""), Value("g"), function="regexp_replace", output_field=CharField())
    return _replace_yo(plain)


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


def split_words(text: str) -> list[str]:
    """Return the words of a text in the form in which the indexes have them."""
    composed = unicodedata.normalize("NFKC", SEPARATOR.sub(" ", text))
    return ACCENT.sub("", composed).lower().replace("ё", "е").split()


def _split_words(query: str) -> list[str]:
    return split_words(query)[:MOST_WORDS]


def _match_all_words(found: list[str], *, config: str) -> SearchQuery | None:
    if not found:
        return None
    # No quotes, backslashes or spaces: no tsquery syntax is possible.
    asked = " & ".join(f"'{word}':*" if config == "simple" else f"'{word}'" for word in found[:-1])
    last = f"'{found[-1]}':*"
    return SearchQuery(f"{asked} & {last}" if asked else last, config=config, search_type="raw")
