"""Display names: cleaning, and whether a name would be visible on a screen."""

from __future__ import annotations

import re
import unicodedata

from .phone_numbers import is_phone_number

# Characters that fonts render as nothing although Unicode counts them as letters or symbols: Hangul fillers, the
# Braille blank, Khmer's inherent vowels.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\U0001d159")
# Spaces, controls, format marks, unassigned code points; a combining mark needs something to combine with.
UNSEEN_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Mc"))
# Marks that set the direction of the following text: in a list they would reorder other names.
DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
CONTROLS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")


def is_visible(text: str) -> bool:
    """Tell whether any character of a text is visible."""
    return any(sign not in BLANK and unicodedata.category(sign) not in UNSEEN_CATEGORIES for sign in text)


def visible_name(text: str, limit: int = 200) -> str:
    """Return a name on one line, or "" if it would be invisible. Line breaks and tabs become a space."""
    name = CONTROLS.sub(" ", DIRECTION_MARKS.sub("", text)).strip()[:limit].strip()
    return name if is_visible(name) else ""


def is_proper_name(text: str) -> bool:
    """Tell whether a text can name a person: visible, and more than a phone number."""
    return is_visible(text) and not is_phone_number(text)
