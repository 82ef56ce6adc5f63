"""Responses of Usedesk's public API: outcomes, errors, lists, comments of a request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.codecs.html_text import html_to_visible_text, text_to_html
from channels_setup.codecs.values import as_text, parse_external_id, parse_whole_number
from channels_setup.providers.base import (
    PAUSE,
    PERMANENT,
    RETRY,
    ApiResponse,
    Json,
    Outcome,
    retry_after_seconds,
)

from .payloads import extract_digits

KEY_ERROR, LIMIT_ERROR, CHANNEL_ERROR, SERVER_ERROR, REJECTED = "key", "limit", "channel", "down", "refused"


def classify_error(error: Any, code: Any) -> str:
    """Return the class of an error by its words, because Usedesk documents no error codes."""
    words = (error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)).lower()
    number = parse_whole_number(as_text(code).strip())
    if number in (401, 403) or any(word in words for word in ("token", "токен", "unauthor", "access denied")):
        return KEY_ERROR
    if number == 429 or "too many" in words or "rate limit" in words:
        return LIMIT_ERROR
    if "channel" in words and any(word in words for word in ("not found", "not a chat", "does not exist", "invalid")):
        return CHANNEL_ERROR
    return SERVER_ERROR if number is not None and number >= 500 else REJECTED


def read_rows(body: bytes, name: str) -> list[Json] | None:
    """Return the rows of a list, which comes bare or under its name; None if the response is no list."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    rows = answer.get(name) if isinstance(answer, dict) else answer
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def read_operator_names(rows: Iterable[Json]) -> dict[str, str]:
    """Return operators' names by their IDs."""
    found = {parse_external_id(row.get("id")): as_text(row.get("name")).strip()[:200] for row in rows}
    return {str(number): name for number, name in found.items() if number and name}


def find_client(rows: Iterable[Json], phone: str) -> int | None:
    """Return the ID of the oldest client with this phone; rows give phones as text or as lists of texts or objects."""
    digits = extract_digits(phone)
    return min(
        (pk for row in rows if digits in _read_phones(row) and (pk := parse_external_id(row.get("id")))), default=None
    )


def _read_phones(row: Json) -> set[str]:
    more = row.get("phones")
    phones = [row.get("phone"), *(more if isinstance(more, list) else [])]
    return {extract_digits(as_text(each.get("phone") if isinstance(each, dict) else each)) for each in phones} - {""}


def find_newest_ticket(rows: list[Json], client_id: int | None) -> tuple[bool, int | None]:
    """Return whether the rows are conclusive, and the newest ticket ID.

    Rows without a client ID, or with another one, prove nothing.
    """
    own = [parse_external_id(row.get("id")) for row in rows if parse_external_id(row.get("client_id")) == client_id]
    numbers = [number for number in own if number is not None]
    return bool(numbers) or not rows, max(numbers, default=None)


def count_trailing_repeats(comments: Iterable[Any], text: str) -> int:
    """Return how many of the client's latest comments are this text, without another one between them."""
    from_client = [row for row in comments if isinstance(row, dict) and row.get("from") == "client"]
    count, words = 0, html_to_visible_text(text_to_html(text))
    for row in sorted(from_client, key=lambda row: parse_external_id(row.get("id")) or 0, reverse=True):
        if html_to_visible_text(as_text(row.get("message"))) != words:
            break
        count += 1
    return count


def judge_response(response: ApiResponse) -> tuple[Outcome | None, Json]:
    """Return the failure or None, and the body. Only a JSON object without an error is a success.

    Usedesk reports errors as HTTP 200 with ``error`` or ``status: false``.
    """
    status = response.status
    if status in (401, 403):
        return Outcome(verdict=PAUSE, reason="helpdesk_unauthorized"), {}
    if status in (404, 405, 410) or 300 <= status < 400:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_address"), {}
    if status == 413:
        return Outcome(verdict=PERMANENT, reason="helpdesk_refused"), {}
    if not 200 <= status < 300:
        reason = "rate_limited" if status == 429 else "helpdesk_unreachable"
        return Outcome(verdict=RETRY, reason=reason, retry_after=retry_after_seconds(response)), {}
    try:
        body = parse_json_object(response.body)
    except BadBody:
        return Outcome(verdict=RETRY, reason="helpdesk_unreachable"), {}
    if (error := body.get("error")) not in (None, "", False, []):
        return _judge_error(error, body.get("code"), response), body
    if body.get("status") is False:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel"), body
    return None, body


def _judge_error(error: Any, code: Any, response: ApiResponse) -> Outcome:
    """Return the outcome of an error. Unclear errors are retried."""
    error_class = classify_error(error, code)
    if error_class == LIMIT_ERROR:
        return Outcome(verdict=RETRY, reason="rate_limited", retry_after=retry_after_seconds(response))
    return {
        KEY_ERROR: Outcome(verdict=PAUSE, reason="helpdesk_unauthorized"),
        CHANNEL_ERROR: Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel"),
        SERVER_ERROR: Outcome(verdict=RETRY, reason="helpdesk_unreachable"),
    }.get(error_class, Outcome(verdict=RETRY, reason="helpdesk_refused"))
