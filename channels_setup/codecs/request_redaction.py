"""Redaction of raw requests: by field name in parsed structures, by value everywhere.

Clients' texts remain as written: the word "password" in a text is not a field of that name. A redacted body can still
be parsed, so that a stored request can be processed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from urllib.parse import quote_plus, unquote_plus, urlsplit

from .secret_names import is_secret_name, looks_like_key, may_be_secret_name
from .secret_search import MIN_LENGTH, find_secrets, is_phone_or_id, mask_spans

MAX_SEARCHED_FILE = 64 * 1024  # bytes; the content of a larger file is not searched
MAX_DEPTH = 3  # JSON in a string in JSON…
MAX_PARTS = 2_000  # of a multipart body: twice as many as the decoder accepts
# Limits of the search by name, so that no body takes seconds. Beyond them secrets are found only by value.
MAX_TOKENS = 200_000  # JSON tokens; a batch of a thousand messages has 33,000
MAX_NESTED = 2_000  # JSON in strings

# Fields with texts of people, which are never parsed, even if they look like JSON.
TEXTS = frozenset(
    (
        *("text", "body", "caption", "comment", "message", "title", "subject", "description", "name", "value"),
        "response_json",  # a form that a client filled in
    )
)

Edit = tuple[int, int, bytes]

# An unterminated string is one token up to the end, so that matching is linear in any text.
_JSON = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
# Only such data needs parsing: a secret's name (each has one of these words), escapes in a name, JSON in a string.
_WORDS_IN_NAMES = (b"token", b"auth", b"key", b"secret", b"pass", b"pwd", b"cookie", b"session", b"csrf")
_ESCAPE_OR_NESTED = re.compile(rb"\\[ubfnrtUBFNRT/]|\"[ \t\r\n]*[{\[]")
_PAIR = re.compile(rb"(?:\A|(?<=&))([^&=]*)=([^&]*)")
_PART_NAME = re.compile(rb"(?:^|[;\s])name\*?=(?:\"((?:[^\"\\\r\n]|\\.)*)\"|([^;\r\n]*))", re.IGNORECASE)
_BOUNDARY = re.compile(r"boundary=\"?([^\";,]{1,200})", re.IGNORECASE)


def redact_body(
    body: bytes, content_type: str, secrets: Collection[str], *, tokens: frozenset[bytes] = frozenset()
) -> bytes:
    """Return the body with secrets overwritten, in JSON, form or multipart encoding."""
    media_type = content_type.split(";")[0].strip().lower()
    boundary = _find_boundary(body, content_type) if media_type == "multipart/form-data" else b""
    if boundary:
        parts = body.split(boundary, MAX_PARTS)
        return boundary.join(_redact_part(part, secrets, tokens) for part in parts)
    return _redact_piece(body, secrets, tokens)


def redact_query(query: str, secrets: Collection[str], *, tokens: frozenset[bytes] = frozenset()) -> str:
    data = query.encode("utf-8", "surrogatepass")
    data = _apply_edits(data, _form_edits(data))
    return mask_spans(data, find_secrets(data, secrets, tokens=tokens)).decode("utf-8", "replace")


def redact_echo(body: bytes, *, url: str, headers: Mapping[str, str], sent: bytes) -> bytes:
    """Overwrite every credential of a request in the response to it."""
    if len(body) < MIN_LENGTH:  # too short for a secret: most answers are "{}" or "ok"
        return body
    return mask_spans(body, find_secrets(body, find_credentials(url=url, headers=headers, sent=sent)))


def find_credentials(*, url: str, headers: Mapping[str, str], sent: bytes) -> set[str]:
    """Return the values in an outgoing request's headers, query and body that are named as secrets."""
    found = {_without_scheme(value) for name, value in headers.items() if _is_header_of_secret(name)}
    query = urlsplit(url).query.encode()
    found |= {_unquote(query[start:end]) for start, end, _new in _form_edits(query)}
    if len(sent) <= MAX_SEARCHED_FILE:  # files hold no credentials
        found |= {_unquote(sent[start:end]) for start, end, _new in _named_edits(sent)}
    return {secret for secret in found if secret and not is_phone_or_id(secret)}


def _is_header_of_secret(name: str) -> bool:
    return is_secret_name(name) or (may_be_secret_name(name) or name.lower().endswith(("-key", "-token", "-secret")))


def _without_scheme(value: str) -> str:
    return value.strip().rpartition(" ")[2]


def _unquote(value: bytes) -> str:
    return unquote_plus(value.decode("utf-8", "replace"))


def _redact_piece(data: bytes, secrets: Collection[str], tokens: frozenset[bytes]) -> bytes:
    data = _apply_edits(data, _named_edits(data))
    return mask_spans(data, find_secrets(data, secrets, tokens=tokens))


def _named_edits(data: bytes, depth: int = 0) -> Iterator[Edit]:
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"[", b'"'):
        return _json_edits(data, depth)
    return _form_edits(data, depth)


def _apply_edits(data: bytes, edits: Iterator[Edit]) -> bytes:
    pieces, position = [], 0
    for start, end, new in edits:
        pieces += [data[position:start], new]
        position = end
    return b"".join([*pieces, data[position:]]) if position else data


# --- JSON ------------------------------------------------------------------------------------------------


def _json_edits(data: bytes, depth: int = 0) -> Iterator[Edit]:
    """Yield replacements for values under a secret's name, at any depth of objects, lists and JSON in strings."""
    lowered = data.lower()
    if any(word in lowered for word in _WORDS_IN_NAMES) or _ESCAPE_OR_NESTED.search(data):
        yield from _edits_by_name(data, depth, [MAX_NESTED])


def _edits_by_name(data: bytes, depth: int, nested_left: list[int]) -> Iterator[Edit]:
    name = ""
    last: re.Match[bytes] | None = None  # a string that is a name if a colon follows
    is_value = False
    level = 0
    secret_since: int | None = None  # everything deeper than this level belongs to a secret
    for token in islice(_JSON.finditer(data), MAX_TOKENS):
        first = token.group()[:1]
        if first == b":" and last is not None:
            name, last, is_value = _parse_string(last.group()), None, True
            continue
        if last is not None:
            yield from _value_edits(last, "", depth, nested_left, is_inside=secret_since is not None)
            last = None
        if first in (b"{", b"["):
            if secret_since is None and is_value and is_secret_name(name):
                secret_since = level
            level += 1
            is_value = False
        elif first in (b"}", b"]"):
            level -= 1
            if secret_since is not None and level <= secret_since:
                secret_since = None
            is_value = False
        elif is_value:
            yield from _value_edits(token, name, depth, nested_left, is_inside=secret_since is not None)
            is_value = False
        elif first == b'"':
            last = token
        elif first not in (b",", b":"):
            yield from _value_edits(token, "", depth, nested_left, is_inside=secret_since is not None)
    if last is not None:
        yield from _value_edits(last, "", depth, nested_left, is_inside=secret_since is not None)


def _value_edits(
    token: re.Match[bytes], name: str, depth: int, nested_left: list[int], *, is_inside: bool
) -> Iterator[Edit]:
    text, (start, end) = token.group(), token.span()
    is_string = text[:1] == b'"'
    inner_end = end - 1 if is_string and len(text) > 1 and text.endswith(b'"') else end
    if is_inside or _is_named(name, text):
        if is_string and inner_end > start + 1:
            yield start + 1, inner_end, b"*" * (inner_end - start - 1)
        elif not is_string and text not in (b"true", b"false", b"null"):
            yield start, end, b'"' + b"*" * max(1, len(text) - 2) + b'"'
    elif (
        is_string and depth < MAX_DEPTH and _may_hold_json(name) and (b"{" in text or b"[" in text or b"\\u00" in text)
    ):
        plain = _parse_string(text)
        if nested_left[0] > 0 and plain.lstrip()[:1] in ("{", "["):
            nested_left[0] -= 1
            old = plain.encode("utf-8", "surrogatepass")
            new = _apply_edits(old, _edits_by_name(old, depth + 1, nested_left))
            if new != old:
                yield start, end, json.dumps(new.decode("utf-8", "surrogatepass")).encode()


def _parse_string(token: bytes) -> str:
    """Return the text of a JSON string, or the token itself if it is not a valid string."""
    if b"\\" not in token:
        return token.strip(b'"').decode("utf-8", "replace")
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token.strip(b'"').decode("utf-8", "replace")


def _is_named(name: str, value: bytes) -> bool:
    """Tell whether a value is a secret by its name. ``value`` may have quotation marks."""
    if not name:
        return False
    if _is_secret_name(name[-80:]):
        return True
    # "key" is not such a name: deliveries have a harmless key of that name.
    return name.lower() in ("token", "auth") and looks_like_key(value.strip(b'"').decode("utf-8", "replace"))


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return is_secret_name(name)


def _may_hold_json(name: str) -> bool:
    return name.lower() not in TEXTS


# --- forms -----------------------------------------------------------------------------------------------


def _form_edits(data: bytes, depth: int = 0) -> Iterator[Edit]:
    for pair in _PAIR.finditer(data):
        if not pair[2]:
            continue
        start, end = pair.span(2)
        name = unquote_plus(pair[1].decode("utf-8", "replace"))
        if is_secret_field(name, pair[2]):
            yield start, end, b"*" * (end - start)
        elif (
            depth < MAX_DEPTH
            and _may_hold_json(_last_part(name))
            and pair[2].lstrip(b"+ ").upper().startswith((b"%7B", b"%5B", b"{", b"["))
        ):
            old = unquote_plus(pair[2].decode("utf-8", "replace")).encode("utf-8", "replace")
            new = _apply_edits(old, _json_edits(old, depth + 1))
            if new != old:
                yield start, end, quote_plus(new).encode()


def is_secret_field(name: str, value: bytes = b"") -> bool:
    """Tell whether a form field holds a secret. Any part of a PHP bracket name may say so."""
    parts = [part.rstrip("]") for part in name.split("[")] if len(name) <= 400 else [name]
    return any(_is_named(part.strip(), value) for part in parts)


def _last_part(name: str) -> str:
    return name.rpartition("[")[2].rstrip("]").strip()


def _find_boundary(body: bytes, content_type: str) -> bytes:
    declared = _BOUNDARY.search(content_type)
    boundary = b"--" + declared[1].strip().encode("latin-1", "replace") if declared else b""
    if boundary and boundary in body:
        return boundary
    return body.split(b"\r\n", 1)[0].strip() if body.startswith(b"--") else b""


def _redact_part(part: bytes, secrets: Collection[str], tokens: frozenset[bytes]) -> bytes:
    head, separator, content = part.partition(b"\r\n\r\n")
    if not separator:
        return mask_spans(part, find_secrets(part, secrets, tokens=tokens))
    named = _PART_NAME.search(head)
    raw = (named[1] or named[2] or b"") if named else b""
    name = unquote_plus(raw.decode("utf-8", "replace").rpartition("''")[2])
    is_file = b"filename" in head.lower()
    value = content.rstrip(b"\r\n")
    if name and not is_file and is_secret_field(name, value):
        stars = b"" if b"base64" in head.lower() else b"*" * len(value)  # asterisks are not base64
        return head + separator + stars + content[len(value) :]
    head = mask_spans(head, find_secrets(head, secrets, tokens=tokens))
    if is_file and len(content) > MAX_SEARCHED_FILE:
        return head + separator + content
    # Not parsed as a form: a text may hold any ``name=value``.
    if _may_hold_json(_last_part(name)) and content.lstrip()[:1] in (b"{", b"["):
        content = _apply_edits(content, _json_edits(content))
    return head + separator + mask_spans(content, find_secrets(content, secrets, tokens=tokens))
