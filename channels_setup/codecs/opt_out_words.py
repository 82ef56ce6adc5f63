"""Words by which clients opt out of messages and in again, recognized as a whole message."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

STOP, START = "stop", "start"
STOP_WORDS = (
    *("STOP", "UNSUBSCRIBE", "STOP PROMOTIONS", "OPT OUT"),
    *("СТОП", "ОТПИСКА", "ОТПИСАТЬСЯ", "ОТПИШИТЕ", "НЕ ПИШИТЕ", "ОТКАЗАТЬСЯ ОТ РАССЫЛКИ"),
)
START_WORDS = ("START", "SUBSCRIBE", "СТАРТ", "ПОДПИСКА", "ПОДПИСАТЬСЯ")
MAX_LENGTH = 60  # characters; longer messages are not one of the words
_OTHER = re.compile(r"[\W_]+")


def normalize_word(text: str) -> str:
    """Return the letters and digits in lower case with single spaces: case, punctuation and emoji do not count."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")
    return _OTHER.sub(" ", folded).strip()


@lru_cache(maxsize=256)
def parse_words(text: str) -> frozenset[str]:
    """Return the normalized words of a comma-separated list."""
    return frozenset(word for part in re.split(r"[,;\n]", text) if (word := normalize_word(part)))


_STOP, _START = parse_words(",".join(STOP_WORDS)), parse_words(",".join(START_WORDS))


def recognize_word(text: str, *, stop_words: str = "", start_words: str = "") -> str:
    """Return STOP or START if the whole text is such a word, else "". Empty lists mean the default words."""
    if not text or len(text) > MAX_LENGTH:
        return ""
    word = normalize_word(text)
    if word in (parse_words(stop_words) or _STOP):
        return STOP
    return START if word in (parse_words(start_words) or _START) else ""
