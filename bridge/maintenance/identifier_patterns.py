"""Regular expressions that find a person's identifiers in raw requests, in every usual spelling.

They are for PostgreSQL and match ``encode(bytes, 'escape')``: ASCII as it is, a backslash doubled, other bytes as
``\\ooo``. Each character may be percent-encoded (also twice) or a JSON escape. A phone number may have separators.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable

import phonenumbers

from bridge.models import Contact

SHORTEST_FREE = 6  # characters of an identifier that is searched without quotes or a field name around it
SHORTEST_NATIONAL = 9  # digits of a phone that are searched without the country code
BACKSLASH = r"\\\\"  # matches the doubled backslash of the escape format
# Between two digits of a phone: blanks, brackets, dots, dashes, also encoded or as UTF-8 bytes.
SEPARATOR = (
    r"(?:[ \t().+_/-]|%(?:25)*(?:2[089bdef]|5f|c2|a0|e2|80|9[0-5])"
    r"|\\(?:302\\240|342\\200\\2[0-2][0-7])"
    rf"|{BACKSLASH}u(?:00a0|002[089bd]|20[01][0-9a-f]))"
)


def build_pattern(identifiers: Iterable[str], *, phones: Iterable[str] = ()) -> str:
    """Return the expression for these identifiers and phone numbers, or "" if there is nothing to search for."""
    parts = {_match_identifier(identifier) for identifier in identifiers if identifier}
    for phone in phones:
        if digits := re.sub(r"\D", "", phone):
            parts |= {_match_phone(digits), *_match_base64(digits)}
    parts.discard("")
    return f"(?i)(?:{'|'.join(sorted(parts))})" if parts else ""


def list_phones(contact: Contact) -> list[str]:
    """Return the contact's phone numbers: the card's, and provider IDs that are phone numbers."""
    values = [contact.phone, contact.external_id, contact.caller_id, contact.username]
    values += contact.former_ids.values_list("value", flat=True)
    return [value for value in values if 7 <= len(value.lstrip("+")) <= 15 and value.lstrip("+").isdecimal()]


def _match_phone(digits: str) -> str:
    """Match a phone number with or without its country code."""
    try:
        national = str(phonenumbers.national_significant_number(phonenumbers.parse(f"+{digits}")))
    except phonenumbers.NumberParseException:
        national = digits
    if not digits.endswith(national) or len(national) < SHORTEST_NATIONAL:
        national = digits
    start = "" if len(national) >= SHORTEST_NATIONAL else "(?<![0-9])"
    return f"{start}{f'{SEPARATOR}{{0,4}}'.join(map(_match_character, national))}(?![0-9])"


def _match_base64(digits: str) -> list[str]:
    """Match the digits inside base64, as in WhatsApp's message IDs, at each of the three alignments."""
    if len(digits) < SHORTEST_NATIONAL:
        return []
    found = []
    for offset, skipped in enumerate((0, 2, 3)):  # leave out characters that depend on the bytes around
        encoded = b64encode(b"x" * offset + digits.encode()).decode()
        found.append(re.escape(encoded[skipped : 8 * (offset + len(digits)) // 6]))
    return found


def _match_identifier(identifier: str) -> str:
    body = "".join(map(_match_character, identifier))
    if len(identifier) >= SHORTEST_FREE:
        return body
    # A short one, such as a number, would match everywhere.
    quote = rf"(?:{BACKSLASH})?(?:\"|%(?:25)*22|{BACKSLASH}u0022)"
    field = r"client_id(?:[^0-9a-z]|%(?:25)*[0-9a-f][0-9a-f]){1,8}"
    return f"(?:{quote}{body}{quote}|{field}{body}(?![0-9a-z]))"


def _match_character(character: str) -> str:
    """Match one character: as it is, percent-encoded, or as a JSON escape."""
    octets = character.encode("utf-8", "surrogatepass")
    percent = "".join(f"%(?:25)*{octet:02x}" for octet in octets)
    utf16 = character.encode("utf-16-be", "surrogatepass")
    escaped = "".join(f"{BACKSLASH}u{utf16[at : at + 2].hex()}" for at in range(0, len(utf16), 2))
    if character == "\\":
        plain = BACKSLASH
    elif len(octets) == 1:
        plain = character if character.isalnum() else f"\\{character}" if character.isprintable() else ""
    else:
        plain = "".join(f"\\\\{octet:03o}" for octet in octets)
    return f"(?:{'|'.join(filter(None, (plain, percent, escaped)))})"
