"""Masking of phone numbers and WhatsApp IDs: ``+7 ••• ••• 12-34``.

``mask_phone`` masks a value that is a phone. ``mask_phones`` finds phones in a text, such as a log line, and leaves
other numbers alone: IDs, times, IP addresses and ports.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import phonenumbers

from .phone_numbers import MAX_DIGITS, SHORTEST_PHONE, is_phone_number

DOTS = "•••"
SHORTEST_FOUND = 7  # digits of a number with a plus
# Digits of a number without a plus. Other lengths are masked only if the number is valid in a numbering plan: times
# have 10 or 13 digits, Meta's IDs 14 and more.
USUAL_LENGTHS = (11, 12)
SHORTEST_BARE = 10

_SEPARATOR = r"(?:[ \t\u00a0\u202f().\-\u2010-\u2015]|%20|%28|%29){0,3}"
# An escape in a JSON text, a repr or a URL may end in a letter or a digit; a phone can follow it.
_START = r"(?:(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2})|(?<=\\[nrt])|(?<![0-9A-Za-z]))"
_TOKENS = re.compile(
    r"(?P<kept>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # UUID
    r"|(?<!\d)\d{4}-\d\d-\d\d(?:(?:[T ]|%20)\d\d(?::|%3A)\d\d(?:(?::|%3A)\d\d(?:[.,]\d+)?)?"  # time
    r"(?:Z|[+\-]\d\d:?\d\d)?)?(?!\d)"
    r"|(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\d.])"  # IP address
    r"|(?<![\d.+])\d+\.\d+(?![\d.]|" + _SEPARATOR + r"\d))"
    r"|(?P<message>wamid\.[A-Za-z0-9+/_\-]{16,}=*)"  # holds the phone in Base64
    r"|(?P<user>(?<![A-Za-z0-9])[A-Z]{2}\.(?:ENT\.)?(?=[A-Za-z0-9]*\d{6})[A-Za-z0-9]{10,128})"
    r"|(?P<named>(?<![A-Za-z])(?:(?:phone|tel|wa_?id|msisdn|mobile)|(?P<id>contact|client|external|caller|recipient|from|to)"
    r"(?:_?id)?)(?:\\?[\"'])?(?:%3A|%3D|\s?[=:])\s?(?:\\?[\"'])?)(?P<value>(?:\+|%2B)?\d{5,15})(?![0-9A-Za-z.])"
    r"|(?P<run>" + _START + r"(?:\+|%2B)?" + _SEPARATOR + r"\d(?:" + _SEPARATOR + r"\d){6,60}(?![0-9A-Za-z]))",
    re.IGNORECASE,
)
# In a log line, digits next to letters belong to an ID. In a client's name they may be a phone: "wa79005550177".
_NEXT_TO_LETTERS = re.compile(r"(?<=[A-Za-z])\+?\d{10,15}(?!\d)|(?<!\d)\+?\d{10,15}(?=[A-Za-z])")
_DIGITS = re.compile(r"\d+")
_HAS_DIGITS = re.compile(r"\d[\s\S]{0,20}\d")
_PHONE_NAMES = re.compile(r"(?:.*_)?(?:phone|tel|wa_?id|msisdn|contact|external_id|caller_id|client_id|recipient_id)")


@lru_cache(maxsize=4_096)
def mask_phone(text: str) -> str:
    """Return a phone with its country code and its last digits only. Other texts with digits become dots."""
    digits = _extract_digits(text)
    if not digits:
        return text
    number = _parse(text, digits)
    if number is not None and len(str(number.national_number)) >= 8:
        return f"+{number.country_code} {DOTS} {DOTS} {digits[-4:-2]}-{digits[-2:]}"
    return f"{DOTS} {DOTS} {digits[-4:-2]}-{digits[-2:]}" if len(digits) >= 9 else f"{DOTS} {digits[-2:]}"


def mask_phone_or_name(text: str) -> str:
    """Mask a phone number, such as the default name of a client, and the phones in a name or an ID."""
    if is_phone_number(text):
        return mask_phone(text)
    return _NEXT_TO_LETTERS.sub(lambda match: mask_phone(match[0]), mask_phones(text))


def mask_phones(text: str) -> str:
    """Mask the phones and WhatsApp IDs in a text."""
    return _TOKENS.sub(_mask_token, text) if _HAS_DIGITS.search(text) else text


def mask_value(value: Any, name: str = "") -> Any:
    """Mask phones in a value of a log event, at any depth. ``name``: of the field that holds it."""
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, Mapping):
        return {mask_value(key): mask_value(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(item, name) for item in value]
    if isinstance(value, int):
        masked = mask_value(str(value), name)
        return value if masked == str(value) else masked
    if isinstance(value, str):
        is_named = bool(_PHONE_NAMES.fullmatch(name.lower())) and is_phone_number(value)
        is_named = is_named and len(_extract_digits(value)) >= (SHORTEST_FOUND if "phone" in name else SHORTEST_BARE)
        return mask_phone(value) if is_named else mask_phones(value)
    return value


def _mask_token(match: re.Match[str]) -> str:
    if match["kept"]:
        return match[0]
    if match["message"]:
        return f"wamid.…{match[0].rstrip('=')[-10:]}"
    if match["user"]:
        # The pattern ignores case; the country code does not.
        return f"{match[0][:2]}.…{match[0][-4:]}" if match[0][:2].isupper() else match[0]
    if match["named"]:
        is_phone = len(_extract_digits(match["value"])) >= (SHORTEST_BARE if match["id"] else SHORTEST_PHONE)
        return match["named"] + mask_phone(match["value"].replace("%2B", "+")) if is_phone else match[0]
    return _mask_run(match[0])


def _mask_run(run: str) -> str:
    """Mask the phones in digits with separators. Groups around a phone may be other numbers."""
    groups = list(_DIGITS.finditer(_hide_escapes(run)))
    has_plus = _hide_escapes(run).lstrip(" \t").startswith("+") or run.upper().startswith("%2B")
    pieces, position, first = [], 0, 0
    while first < len(groups):
        start = 0 if has_plus and first == 0 else groups[first].start()
        last, part = _find_phone(run, start, groups, first, has_plus=has_plus and first == 0)
        if part:
            pieces += [run[position:start], mask_phone(part)]
            position = groups[last].end()
        first = last + 1
    return "".join([*pieces, run[position:]])


def _find_phone(run: str, start: int, groups: list[re.Match[str]], first: int, *, has_plus: bool) -> tuple[int, str]:
    """Return the longest phone that begins with this group, and the index of its last group; else an empty text."""
    parts = [
        (last, run[start : groups[last].end()].replace("%2B", "+").replace("%2b", "+"))
        for last in reversed(range(first, min(len(groups), first + MAX_DIGITS)))
    ]
    for is_strict in (True, False) if has_plus else (True,):
        for last, part in parts:
            is_whole = first == 0 and last == len(groups) - 1
            if _is_phone(part, has_plus=has_plus, is_strict=is_strict, is_whole=is_whole):
                return last, part
    return first, ""


def _hide_escapes(text: str) -> str:
    """Replace the digits of percent escapes by separators, so that they do not count as digits of a phone."""
    return re.sub("%2B", "  +", re.sub("%2[089]", "   ", text), flags=re.IGNORECASE)


@lru_cache(maxsize=4_096)
def _is_phone(text: str, *, has_plus: bool, is_strict: bool, is_whole: bool) -> bool:
    digits = _extract_digits(text)
    if has_plus:
        number = _parse(text, digits)
        if is_strict or number is None:
            return number is not None and phonenumbers.is_valid_number(number)
        return phonenumbers.is_possible_number(number) or (is_whole and SHORTEST_FOUND <= len(digits) <= MAX_DIGITS)
    if not SHORTEST_BARE <= len(digits) <= MAX_DIGITS:
        return False
    groups = _DIGITS.findall(_hide_escapes(text))
    if len(groups) > 1 and max(len(group) for group in groups) > 7:
        return False  # one group is a number of its own
    number = _parse(text, digits)
    if number is not None and phonenumbers.is_valid_number(number):
        return True
    is_possible = number is not None and phonenumbers.is_possible_number(number)
    return is_possible and len(digits) in USUAL_LENGTHS and len(groups) == 1


def _parse(text: str, digits: str) -> phonenumbers.PhoneNumber | None:
    """Parse as an international number. A Russian 8 or area code counts as +7, and 00 as a plus."""
    forms = [digits]
    if not text.lstrip().startswith("+"):
        if len(digits) == 11 and digits[0] == "8":
            forms = [f"7{digits[1:]}", digits]
        elif len(digits) == 10 and len(text) > 10:  # "(921) 555-01-77"
            forms = [f"7{digits}", digits]
        elif digits.startswith("00"):
            forms = [digits[2:]]
    for form in forms:
        try:
            number = phonenumbers.parse(f"+{form}")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) or form is forms[-1]:
            return number
    return None


def _extract_digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(sign)) for sign in _hide_escapes(text) if sign.isdecimal())
