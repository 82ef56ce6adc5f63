"""What a helpdesk's public API answers, read: its lists, its errors, and what stands in a request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from channels_setup.codecs.html_text import html_to_visible_text, text_to_html
from channels_setup.codecs.values import as_text, parse_external_id

from .payloads import extract_digits

Json = dict[str, Any]

KEY_ERROR, LIMIT_ERROR, CHANNEL_ERROR, SERVER_ERROR, REJECTED = "key", "limit", "channel", "down", "refused"


def classify_error(error: Any, code: Any) -> str:
    """Their sentences are not documented: what they are about decides."""
    words = (error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)).lower()
    number = parse_external_id(code)
    if number in (401, 403) or any(word in words for word in ("token", "токен", "unauthor", "access denied")):
        return KEY_ERROR
    if number == 429 or "too many" in words or "rate limit" in words:
        return LIMIT_ERROR
    if "channel" in words and any(word in words for word in ("not found", "not a chat", "does not exist", "invalid")):
        return CHANNEL_ERROR
    return SERVER_ERROR if number is not None and number >= 500 else REJECTED


def read_rows(body: bytes, name: str) -> list[Json] | None:
    """The rows of a list, which comes bare or under its name; None where the answer is no list."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    rows = answer.get(name) if isinstance(answer, dict) else answer
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def read_operator_names(rows: Iterable[Json]) -> dict[str, str]:
    """An operator's number -> the name."""
    found = {parse_external_id(row.get("id")): as_text(row.get("name")).strip()[:200] for row in rows}
    return {str(number): name for number, name in found.items() if number and name}


def find_client(rows: Iterable[Json], phone: str) -> int | None:
    """The oldest client with this phone, which a list gives as text or as a list of texts or objects."""
    digits = extract_digits(phone)
    return min(
        (pk for row in rows if digits in _phones(row) and (pk := parse_external_id(row.get("id")))), default=None
    )


def _phones(row: Json) -> set[str]:
    several = row.get("phones")
    given = [row.get("phone"), *(several if isinstance(several, list) else [])]
    return {extract_digits(as_text(each.get("phone") if isinstance(each, dict) else each)) for each in given} - {""}


def find_newest_ticket(rows: list[Json], client_id: int | None) -> tuple[bool, int | None]:
    """(can it be told, the number): rows that do not name their client, or another one, tell nothing."""
    own = [parse_external_id(row.get("id")) for row in rows if parse_external_id(row.get("client_id")) == client_id]
    numbers = [number for number in own if number is not None]
    return bool(numbers) or not rows, max(numbers, default=None)


def count_trailing_repeats(comments: Iterable[Any], text: str) -> int:
    """How often the client's last words in a request are this text, one after the other."""
    from_client = [row for row in comments if isinstance(row, dict) and row.get("from") == "client"]
    count, words = 0, html_to_visible_text(text_to_html(text))
    for row in sorted(from_client, key=lambda row: parse_external_id(row.get("id")) or 0, reverse=True):
        if html_to_visible_text(as_text(row.get("message"))) != words:
            break
        count += 1
    return count
