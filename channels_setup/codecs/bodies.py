"""Request bodies, both ways.

In: the four encodings that clients of the helpdesk's public API really use (JSON, multipart, form with PHP
bracket names, everything in the query string) become one object. Out: an event as JSON, as a form or as
multipart/form-data, with the text as it is or converted, as the API channel's flags say.
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

MAX_DIGITS = 400  # a number in JSON longer than this is no number of ours
MAX_VALUES = 200_000  # in JSON: each costs a microsecond to read and check
MAX_FIELDS = 1_000
MAX_ESCAPES = 400_000  # such as %D0 in a form; two for each Russian letter
MAX_DEPTH = 32


class BadBody(ValueError):
    """A body we cannot read. Its text is a sentence for whoever sent it."""


@dataclass(frozen=True)
class DecodedBody:
    values: dict[str, Any]
    files: tuple[UploadedFile, ...] = field(default=())


def decode_body(*, body: bytes, content_type: str, query_string: str = "") -> DecodedBody:
    """One object from a request; body fields win over the query's. Raises BadBody.

    Text never holds NUL or lone surrogates afterwards: PostgreSQL stores neither.
    """
    values = parse_form(query_string) if query_string else {}
    media_type = content_type.split(";")[0].strip().lower()
    files: tuple[UploadedFile, ...] = ()
    if media_type == "multipart/form-data":
        pairs, files = _multipart(body, content_type)
        values |= _nested(pairs)
    elif media_type == "application/x-www-form-urlencoded" and body.lstrip()[:1] not in (b"{", b"["):
        values |= parse_form(_utf8(body))
    elif body.strip():
        values |= parse_json_object(body)
    return DecodedBody(values=values, files=files)


# A text that does not end is one up to the end: linear in any body.
_JSON_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{MAX_DIGITS + 1}}}")
_LARGE_FLOAT = re.compile(r"[0-9][eE]|(?<![0-9])[0-9]{300}")
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def parse_json_object(body: bytes, *, most_values: int = MAX_VALUES) -> dict[str, Any]:
    """A JSON object from bytes, or BadBody: never a RecursionError, a digit bomb or a value PostgreSQL refuses."""
    # Those inside of texts are no values: a client's many commas must not cost the batch of its neighbors.
    if _values(body) > most_values and _values(_JSON_TEXT.sub(b"", body)) > most_values:
        raise BadBody(_("The JSON has too many values."))
    text = _utf8(body)
    # Calls for each number cost more than all the rest: they are made where a number may be too large.
    parse_int = _whole_number if _LONG_NUMBER.search(text) else None
    parse_float = _finite_number if _LARGE_FLOAT.search(text) else None
    try:
        value = json.loads(text, parse_int=parse_int, parse_float=parse_float, parse_constant=_no_constant)
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


def _values(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def clean_value(value: Any) -> Any:
    """The same value with text that PostgreSQL can hold: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    return value


def clean_text(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _utf8(body: bytes) -> str:
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
    """Refuse what is nested deeper than DEEPEST: level by level, without recursion."""
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
    if encoded.count("%") > MAX_ESCAPES:
        raise BadBody(_("The form is too long. Send files and long texts as JSON or multipart/form-data."))
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise BadBody(_("The form is not UTF-8 text.")) from None
    except ValueError:
        raise BadBody(_("The form has too many fields.")) from None
    return _nested(pairs)


_BRACKETED = re.compile(r"\[([^\[\]]*)\]")


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """PHP's bracket names as nested objects: ``message[from][name]=Anna``. Numbered keys make a list."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        head, bracket, tail = name.partition("[")
        keys = [head, *_BRACKETED.findall(bracket + tail)] if bracket and tail.endswith("]") else [name]
        if len(keys) > MAX_DEPTH:
            raise BadBody(_("A field name is nested too deeply."))
        place = result
        for key in keys[:-1]:
            inner = place.setdefault(key or str(len(place)), {})
            if not isinstance(inner, dict):
                raise BadBody(_("The field “%(name)s” stands twice with different shapes.") % {"name": keys[0][:60]})
            place = inner
        place[keys[-1] or str(len(place))] = value
    return clean_value(
        {key: _lists(item) for key, item in result.items()}
    )  # the whole is an object, whatever its names


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    if inner and list(inner) == [str(number) for number in range(len(inner))]:
        return list(inner.values())
    return inner


def _multipart(body: bytes, content_type: str) -> tuple[list[tuple[str, str]], tuple[UploadedFile, ...]]:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    handlers = [MemoryFileUploadHandler(), TemporaryFileUploadHandler()]
    try:
        posted, uploaded = MultiPartParser(meta, BytesIO(body), handlers, "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation, LookupError, UnicodeError, ValueError):
        raise BadBody(_("The multipart body cannot be read.")) from None
    pairs = [(name, text) for name, values in posted.lists() for text in values]
    files = tuple(_storable(file) for _name, many in uploaded.lists() for file in many)
    return pairs, files


def _storable(file: UploadedFile) -> UploadedFile:
    """The file with a name and a type that PostgreSQL can hold."""
    file.name = clean_text(file.name or "")
    file.content_type = clean_text(file.content_type or "")
    return file


# --- out -------------------------------------------------------------------------------------------------


def encode_event(event: Mapping[str, Any], *, as_json: bool, utf8: bool, multipart: bool = False) -> tuple[str, bytes]:
    """(Content-Type, bytes) of an event. The same event gives the same bytes at every try.

    The conversion with UTF-8 off is not documented by the helpdesk; receivers in the wild understand JSON
    escapes and HTML entities, so those are what we send.
    """
    if as_json:
        text = json.dumps(event, ensure_ascii=not utf8, separators=(",", ":"))
        return "application/json; charset=utf-8" if utf8 else "application/json", text.encode()
    pairs = [(name, value if utf8 else _entities(value)) for name, value in flatten_pairs(event)]
    if multipart:
        return _as_multipart(pairs, utf8=utf8)
    media_type = "application/x-www-form-urlencoded"
    return f"{media_type}; charset=utf-8" if utf8 else media_type, urlencode(pairs).encode()


def _as_multipart(pairs: list[tuple[str, str]], *, utf8: bool) -> tuple[str, bytes]:
    """The form as multipart/form-data. The boundary follows from the content, so every try has the same bytes.

    Converted characters are announced as US-ASCII: another portal turns them back.
    """
    digest = hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
    boundary = f"okno-{digest[:40]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    charset = "" if utf8 else "charset=us-ascii; "
    return f"multipart/form-data; {charset}boundary={boundary}", "".join([*parts, f"--{boundary}--\r\n"]).encode()


def _quoted(name: str) -> str:
    """A field's name as browsers write it into the header."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def flatten_pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """An object as PHP bracket names with text values: null is empty, true is 1, an empty list is left out."""
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


def _entities(text: str) -> str:
    """HTML entities that ``html.unescape`` turns back into the very text: so an ampersand is one too."""
    return text.replace("&", "&amp;").encode("ascii", "xmlcharrefreplace").decode()
