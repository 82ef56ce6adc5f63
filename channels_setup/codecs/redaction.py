"""Redaction of foreign texts (provider errors, responses, tracebacks): known secrets by value, others by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from .secret_names import is_secret_name, looks_like_key, may_be_secret_name
from .secret_search import EscapeLayer, Span, decode_layers, find_secrets

MASK = "•" * 8
MAX_REMEMBERED = 200  # characters; the result of a longer text is not remembered

_NAME = re.compile(
    rb"(?<![A-Za-z0-9_.\-])([A-Za-z0-9_.\-]{1,80})(?:\[\])?([\"']?[ \t]{0,4}(?:=>|[:=])[ \t+]{0,4})", re.IGNORECASE
)
_VALUE = re.compile(
    rb"\"([^\"\r\n]{1,2000})|'([^'\r\n]{1,2000})|((?:(?:bearer|basic|token|oauth|digest)[ \t+]{1,4})?"
    rb"[^\s\"'&,;<>{}\[\]()]{1,4000})",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    rb"(?<![A-Za-z0-9])(bearer|basic|token|oauth|digest|apikey)(?:[ \t+]{1,4}|:[ \t]{0,4})"
    rb"([A-Za-z0-9._~+/=|\-]{6,4000})",
    re.IGNORECASE,
)
_SHAPES = (
    re.compile(rb"(?<![A-Za-z0-9])(EAA[A-Za-z0-9]{16,2000})"),  # Meta's access tokens
    re.compile(rb"(?<![A-Za-z0-9])(eyJ[A-Za-z0-9_\-]{8,2000}\.[A-Za-z0-9_\-]{4,4000}\.?[A-Za-z0-9_\-]{0,2000})"),  # JWT
    re.compile(rb"(?<![A-Za-z0-9])(okno_[0-9a-f]{40,64})"),  # Okno's API tokens
    re.compile(rb"://[^\s/:@?#]{0,200}:([^\s/@?#]{1,200})@"),  # user:password@host
)
_ORDINARY = frozenset((b"true", b"false", b"null", b"none", b"undefined", b"missing", b"required", b"invalid"))
_WORD = re.compile(rb"[A-Za-z]{1,12}[.!?]?\Z")


def redact_text(text: str, secrets: Iterable[str] = (), *, tokens: frozenset[bytes] = frozenset()) -> str:
    """Mask ``secrets`` by value, in any spelling, and all values that are named as secrets.

    ``tokens``: see ``secret_search.find_secrets``.
    """
    if not text:
        return text
    if len(text) <= MAX_REMEMBERED:
        return _redact_short_text(text, frozenset(secrets), tokens)
    return _redact_text(text, secrets, tokens)


def _redact_text(text: str, secrets: Iterable[str], tokens: frozenset[bytes]) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return _replace_spans(data, [*find_secrets(data, secrets, tokens=tokens), *find_named_secrets(data)], text)


# Senders repeat the headers of their requests, and receivers their answers, in each call.
_redact_short_text = lru_cache(maxsize=4096)(_redact_text)


def redact_known_secrets(text: str, secrets: Iterable[str] = (), *, tokens: frozenset[bytes] = frozenset()) -> str:
    """Mask only known secrets: for texts that may hold words of clients or operators."""
    data = text.encode("utf-8", "surrogatepass")
    return _replace_spans(data, find_secrets(data, secrets, tokens=tokens), text)


def redact_json(
    value: Any,
    secrets: Collection[str] = (),
    *,
    tokens: frozenset[bytes] = frozenset(),
    name: str = "",
    by_name: bool = True,
) -> Any:
    """Redact every text in a JSON value, and values whose key is a secret's name.

    ``by_name=False`` masks only known secrets.
    """
    if isinstance(value, str):
        if not by_name:
            return redact_known_secrets(value, secrets, tokens=tokens)
        is_named = is_secret_name(name) or (may_be_secret_name(name) and looks_like_key(value))
        return MASK if is_named and value else redact_text(value, secrets, tokens=tokens)
    if isinstance(value, dict):
        return {
            key: redact_json(
                item, secrets, tokens=tokens, name=name if is_secret_name(name) else str(key), by_name=by_name
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_json(item, secrets, tokens=tokens, name=name, by_name=by_name) for item in value]
    return value


def _replace_spans(data: bytes, found: list[Span], text: str) -> str:
    if not found:
        return text
    pieces, position = [], 0
    for start, end in _merge_spans(found):
        pieces.append(data[position:start])
        pieces.append(MASK.encode())
        position = end
    return b"".join([*pieces, data[position:]]).decode("utf-8", "replace")


def _merge_spans(found: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def find_named_secrets(data: bytes) -> list[Span]:
    """Find values that are named as secrets (``authorization: …``) or look like secrets (``Bearer …``)."""
    return [span for layer in decode_layers(data) for span in _named_in(layer)]


def _named_in(layer: EscapeLayer) -> Iterator[Span]:
    data = layer.data
    position = 0
    for name in _NAME.finditer(data):
        if name.start() < position or not _is_name(name[1].decode()):
            continue
        value = _VALUE.match(data, name.end())
        if value is None:
            continue
        group = next(number for number in (1, 2, 3) if value[number])
        if _is_secret(name[1].decode(), name[2], value[group], is_quoted=group != 3):
            yield layer.original(*value.span(group))
            position = value.end()
    for match in _SCHEME.finditer(layer.data):
        if _is_credential(match[1].lower(), match[2]):
            yield layer.original(*match.span(2))
    for shape in _SHAPES:
        for match in shape.finditer(layer.data):
            yield layer.original(*match.span(1))


def _is_name(name: str) -> bool:
    return is_secret_name(name) or may_be_secret_name(name)


def _is_secret(name: str, separator: bytes, value: bytes, *, is_quoted: bool) -> bool:
    if value.lower() in _ORDINARY:
        return False
    if is_secret_name(name):
        is_prose = not is_quoted and b":" in separator and b'"' not in separator and b"'" not in separator
        return not (is_prose and _WORD.match(value))  # "Password: must be longer"
    return may_be_secret_name(name) and looks_like_key(value.decode("utf-8", "replace"))


def _is_credential(scheme: bytes, value: bytes) -> bool:
    if scheme in (b"bearer", b"oauth"):
        return any(48 <= byte <= 57 for byte in value) or len(value) >= 16
    return looks_like_key(value.decode())


def redact_fields(fact: Any, *names: str) -> None:
    """Redact these fields of a frozen dataclass. Call it in ``__post_init__`` of facts with a provider's own texts."""
    for name in names:
        value = getattr(fact, name)
        if value and isinstance(value, str | Mapping):
            # Never longer than before: a text that was cut to fit a column must still fit.
            clean = redact_text(value)[: len(value)] if isinstance(value, str) else redact_json(dict(value))
            object.__setattr__(fact, name, clean)
