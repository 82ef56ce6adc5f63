"""Request bodies: decoding of incoming ones, encoding of outgoing events.

Incoming: the four encodings that clients of Usedesk's public API use (JSON, multipart, form with PHP bracket names,
query string) become one object. Outgoing: an event as JSON, form or multipart/form-data, in UTF-8 or escaped ASCII, as
the flags of the API channel say.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.translation import gettext_lazy as _

MAX_DIGITS = 400  # of one number in JSON
MAX_VALUES = 200_000  # in JSON; reading and checking one takes about a microsecond
MAX_FIELDS = 1_000
MAX_ESCAPES = 400_000  # such as %D0 in a form; a Russian letter has two
MAX_DEPTH = 32


class BadBody(ValueError):
    """The body cannot be read. The exception's text is a sentence for its sender."""


@dataclass(frozen=True)
class DecodedBody:
    """Values of a request as one object, and its uploaded files."""

    values: dict[str, Any]
    files: tuple[UploadedFile[Any], ...] = field(default=())


def decode_body(*, body: bytes, content_type: str, query_string: str = "") -> DecodedBody:
    """Decode a request into one object; fields of the body override those of the query string. Raises BadBody.

    NUL and lone surrogates in texts become U+FFFD, because PostgreSQL stores neither.
    """
    values = parse_form(query_string) if query_string else {}
    media_type = content_type.split(";")[0].strip().lower()
    files: tuple[UploadedFile[Any], ...] = ()
    if media_type == "multipart/form-data":
        pairs, files = _parse_multipart(body, content_type)
        values |= _nest_fields(pairs)
    elif media_type == "application/x-www-form-urlencoded" and body.lstrip()[:1] not in (b"{", b"["):
        values |= parse_form(_decode_utf8(body))
    elif body.strip():
        values |= parse_json_object(body)
    return DecodedBody(values=values, files=files)


# An unterminated string extends to the end of the body, so that matching is linear in any body.
_JSON_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{MAX_DIGITS + 1}}}")
_LARGE_FLOAT = re.compile(r"[0-9][eE]|(?<![0-9])[0-9]{300}")
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def parse_json_object(body: bytes, *, most_values: int = MAX_VALUES) -> dict[str, Any]:
    """Parse a JSON object. Raises BadBody for anything else, for deep nesting, and for too many or too large values.

    Texts in the result are such that PostgreSQL can store them.
    """
    # A client's text may hold many commas: count again without strings before refusing a whole batch.
    if _count_values(body) > most_values and _count_values(_JSON_TEXT.sub(b"", body)) > most_values:
        raise BadBody(_("The JSON has too many values."))
    text = _decode_utf8(body)
    # A callback per number would dominate the parsing time: set only where a number may be too large.
    parse_int = _whole_number if _LONG_NUMBER.search(text) else None
    parse_float = _finite_number if _LARGE_FLOAT.search(text) else None
    try:
        value = json.loads(text, parse_int=parse_int, parse_float=parse_float, parse_constant=_no_constant)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:  # fewer cannot be nested too deeply
            _check_depth(value)
    except RecursionError:
        raise BadBody(_("The JSON is nested too deeply.")) from None
    except BadBody:
        raise
    except ValueError:
        raise BadBody(_("The body is not valid JSON.")) from None
    if not isinstance(value, dict):
        raise BadBody(_("The JSON must be an object."))
    return clean_value(value) if _UNSTORABLE.search(text) else value


def _count_values(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def clean_value(value: Any) -> Any:
    """Return a JSON value with texts that PostgreSQL can store: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    return value


def clean_text(text: str) -> str:
    """Return a text that PostgreSQL can store: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode_utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadBody(_("The body is not UTF-8 text.")) from None


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadBody(_("A number in the JSON is too long."))
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadBody(_("A number in the JSON is too large."))
    return number


def _no_constant(name: str) -> None:
    raise BadBody(_("%(name)s is not a JSON number.") % {"name": name})


def _check_depth(value: Any) -> None:
    """Raise BadBody for nesting beyond MAX_DEPTH. Goes level by level, without recursion."""
    level = [value]
    for _depth in range(MAX_DEPTH + 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise BadBody(_("The JSON is nested too deeply."))


def parse_form(encoded: str) -> dict[str, Any]:
    """Parse a urlencoded form or query string with PHP bracket names. Raises BadBody."""
    if encoded.count("%") > MAX_ESCAPES:
        raise BadBody(_("The form is too long. Send files and long texts as JSON or multipart/form-data."))
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise BadBody(_("The form is not UTF-8 text.")) from None
    except ValueError:
        raise BadBody(_("The form has too many fields.")) from None
    return _nest_fields(pairs)


_BRACKETED = re.compile(r"\[([^\[\]]*)\]")


def _nest_fields(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Nest PHP bracket names such as ``message[from][name]=Anna``. Objects with keys 0, 1, … become lists."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        head, bracket, tail = name.partition("[")
        keys = [head, *_BRACKETED.findall(bracket + tail)] if bracket and tail.endswith("]") else [name]
        if len(keys) > MAX_DEPTH:
            raise BadBody(_("A field name is nested too deeply."))
        target = result
        for key in keys[:-1]:
            inner = target.setdefault(key or str(len(target)), {})
            if not isinstance(inner, dict):
                raise BadBody(_("The field “%(name)s” is given twice with different shapes.") % {"name": keys[0][:60]})
            target = inner
        target[keys[-1] or str(len(target))] = value
    # The outermost value stays an object even if its keys are 0, 1, …
    return {clean_text(key): clean_value(_convert_lists(item)) for key, item in result.items()}


def _convert_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _convert_lists(item) for key, item in value.items()}
    if inner and list(inner) == [str(number) for number in range(len(inner))]:
        return list(inner.values())
    return inner


def _parse_multipart(body: bytes, content_type: str) -> tuple[list[tuple[str, str]], tuple[UploadedFile[Any], ...]]:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    handlers = [MemoryFileUploadHandler(), TemporaryFileUploadHandler()]
    try:
        posted, uploaded = MultiPartParser(meta, BytesIO(body), handlers, "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation, LookupError, UnicodeError, ValueError):
        raise BadBody(_("The multipart body cannot be read.")) from None
    pairs = [(name, text) for name, values in posted.lists() for text in values]
    files = tuple(_clean_file(file) for _name, many in uploaded.lists() for file in many)
    return pairs, files


def _clean_file(file: UploadedFile[Any]) -> UploadedFile[Any]:
    """Give the file a name and a type that PostgreSQL can store."""
    file.name = clean_text(file.name or "")
    file.content_type = clean_text(file.content_type or "")
    return file


# --- encoding --------------------------------------------------------------------------------------------


def encode_event(event: Mapping[str, Any], *, as_json: bool, utf8: bool, multipart: bool = False) -> tuple[str, bytes]:
    """Return (Content-Type, bytes) of an event. The same event has the same bytes at every attempt.

    Usedesk does not document the encoding of events with UTF-8 switched off. Known receivers understand JSON escapes
    and HTML entities, so these are sent.
    """
    if as_json:
        text = json.dumps(event, ensure_ascii=not utf8, separators=(",", ":"))
        return "application/json; charset=utf-8" if utf8 else "application/json", text.encode()
    pairs = [(name, value if utf8 else _escape_entities(value)) for name, value in flatten_pairs(event)]
    if multipart:
        return _as_multipart(pairs, utf8=utf8)
    media_type = "application/x-www-form-urlencoded"
    return f"{media_type}; charset=utf-8" if utf8 else media_type, urlencode(pairs).encode()


def _as_multipart(pairs: list[tuple[str, str]], *, utf8: bool) -> tuple[str, bytes]:
    """Encode a form as multipart/form-data, with a boundary derived from the content, so that attempts are identical.

    Escaped text is declared as US-ASCII, which tells another Okno to unescape it.
    """
    digest = hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
    boundary = f"okno-{digest[:40]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote_name(name)}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    charset = "" if utf8 else "charset=us-ascii; "
    return f"multipart/form-data; {charset}boundary={boundary}", "".join([*parts, f"--{boundary}--\r\n"]).encode()


def _quote_name(name: str) -> str:
    """Escape a field name for the header, as browsers do."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def flatten_pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield an object as PHP bracket names with text values: null is empty, true is 1, empty lists are left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten_pairs(item, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from flatten_pairs(item, f"{name}[{number}]")
    elif value is None:
        yield name, ""
    elif isinstance(value, bool):
        yield name, "1" if value else "0"
    else:
        yield name, str(value)


def _escape_entities(text: str) -> str:
    """Escape non-ASCII characters and ampersands as HTML entities; ``html.unescape`` restores the exact text."""
    return text.replace("&", "&amp;").encode("ascii", "xmlcharrefreplace").decode()
