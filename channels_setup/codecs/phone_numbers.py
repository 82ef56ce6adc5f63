"""Phone numbers: parsing, and one lookup key for all spellings of a number.

WhatsApp knows some numbers in another national form than people dial: Brazil without the ninth digit, Mexico with a 1
after the country code, Argentina with or without a 9. ``phone_key`` folds such forms into one, but only where the
national numbering plan guarantees that both forms are the same subscriber.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

KEY_LENGTH = 32
MAX_DIGITS = 15  # digits, by E.164
SHORTEST_PHONE, SHORTEST_ID = 5, 10  # digits of a phone, and of an ID that may be a phone
UNVERIFIED = "?"  # prefix of the key of digits outside every numbering plan, such as a provider's test number
SEPARATORS = re.compile(r"[\s().\-\u2010-\u2015\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
LETTER = re.compile(r"[^\W\d_]")
# "8 (921) …" and "8-921-…": the Russian trunk prefix with a separator. Without one, 84… may be Vietnam.
TRUNK_EIGHT = re.compile(r"8[\s(\-]")

# Pattern of the digits → their form in a key.
MOBILE_FORMS = (
    # Old mobile numbers begin with 6 to 9; landlines begin with 2 to 5 and never get a ninth digit.
    (re.compile(r"55([1-9]\d)([6-9]\d{7})"), r"55\g<1>9\g<2>"),
    (re.compile(r"52(?:1|01|044|045)([2-9]\d{9})"), r"52\g<1>"),
    # Benin put 01 before every number in 2024.
    (re.compile(r"229([2-9]\d{7})"), r"22901\g<1>"),
)
# An Argentine number has ten digits, unique among landlines and mobiles; 9 and 15 only mark a mobile call.
ARGENTINA = re.compile(r"549(\d{10})")
# Regions whose national forms ``search_keys`` tries.
SEARCH_REGIONS = ("RU", "BR", "MX", "AR")


def phone_key(text: str) -> str:
    """Return the key of a phone number, or "" if the text is no phone number.

    Equal keys mean the same number. Digits that are not a valid number still have a key, so that a search finds a test
    number with and without its plus.
    """
    text = text.strip()[:60]
    return "" if LETTER.search(text) else _build_key(text, SHORTEST_PHONE)


def id_key(text: str) -> str:
    """Return the phone key of an ID that is written as an international phone number, or "" for any other ID."""
    text = text.strip()
    if len(text) > 40 or not SEPARATORS.sub("", text).removeprefix("+").isdecimal():
        return ""
    return _build_key(text, SHORTEST_PHONE if text.startswith("+") else SHORTEST_ID)


def format_wire_phone(text: str) -> str:
    """Return a phone as the public API shows it: international, digits only. Other texts remain unchanged."""
    text = text.strip()
    digits = _extract_digits(text)
    if not digits or len(digits) > MAX_DIGITS or LETTER.search(text):
        return text
    number = _parse_number(text)
    return _format_e164(number) if number is not None else digits


def search_keys(query: str) -> list[str]:
    """Return the keys that a number typed into a search field may mean, the likeliest first."""
    query = query.strip()[:60]
    digits = _extract_digits(query)
    if len(digits) < SHORTEST_PHONE or len(digits) > MAX_DIGITS + 2 or LETTER.search(query):
        return []
    found = [phone_key(query)]
    if not query.startswith("+"):
        if len(digits) == 11 and digits.startswith("8"):
            found.append(phone_key(f"+7{digits[1:]}"))
        for region in SEARCH_REGIONS:
            if (number := _find_valid(query, region)) is not None:
                found.append(_fold_variant(_format_e164(number)))
        if len(digits) == 10 and re.match(r"[1-9]\d[6-9]", digits):  # Brazil's old mobile form
            found.append(phone_key(f"+55{digits}"))
    return [key for key in dict.fromkeys(found) if key]


def is_phone_number(text: str) -> bool:
    """Tell whether a text is written like a phone number and nothing else."""
    bare = SEPARATORS.sub("", text).removeprefix("+")
    return bare.isdecimal() and len(bare) >= SHORTEST_PHONE


@lru_cache(maxsize=4_096)
def _build_key(text: str, shortest: int) -> str:
    digits = _extract_digits(text)
    if len(digits) < shortest:
        return ""
    number = _parse_number(text)
    if number is not None:
        return _fold_variant(_format_e164(number))
    folded = _fold_variant(digits.removeprefix("00") if not text.startswith("+") else digits)
    if _find_valid(f"+{folded}") is not None:
        return folded
    return f"{UNVERIFIED}{digits}" if len(digits) <= MAX_DIGITS else ""


def _parse_number(text: str) -> phonenumbers.PhoneNumber | None:
    """Parse an international number with or without its plus. A Russian 8 counts as +7 where it is unambiguous."""
    digits = _extract_digits(text)
    if not digits or len(digits) > MAX_DIGITS + 2:
        return None
    is_russian = len(digits) == 11 and digits.startswith("8")
    if is_russian and TRUNK_EIGHT.match(text) and (number := _find_valid(f"+7{digits[1:]}")) is not None:
        return number
    if (number := _find_valid(f"+{digits}")) is not None:
        return number
    if not text.startswith("+") and digits.startswith("00") and (number := _find_valid(f"+{digits[2:]}")) is not None:
        return number
    return _find_valid(f"+7{digits[1:]}") if is_russian else None


def _find_valid(text: str, region: str | None = None) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _format_e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _fold_variant(digits: str) -> str:
    """Convert a national variant to the form of keys, unless the result would not be a valid number."""
    for pattern, form in MOBILE_FORMS:
        if pattern.fullmatch(digits):
            other = pattern.sub(form, digits)
            return other if _find_valid(f"+{other}") is not None else digits
    return ARGENTINA.sub(r"54\g<1>", digits) if ARGENTINA.fullmatch(digits) else digits


def _extract_digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isascii() and sign.isdigit())
