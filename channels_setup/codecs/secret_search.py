"""Search for known secrets in bytes, in every spelling that text formats give them."""

from __future__ import annotations

import base64
import html
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

MIN_LENGTH = 6  # a shorter secret may be an ordinary word: masking it everywhere would garble texts
MIN_NUMBER_LENGTH = 20  # a shorter number may be a phone number or an ID, or part of one
MIN_BEGINNING = 8  # of a secret that is cut at the end of the data
MIN_CORE_LENGTH = 10  # base64 characters that depend on the secret only
MAX_ESCAPES = 20_000  # decoded per layer, to bound the time for a body made of escapes
MAX_DEPTH = 4  # layers of escaping: JSON in a string in a form in a query

Span = tuple[int, int]

# Only escapes of ASCII characters: nearly all secrets are ASCII, and Russian text in \u04xx must not be decoded.
_ESCAPE = re.compile(
    rb"\\+u(00[2-7][0-9a-fA-F])|\\+x([2-7][0-9a-fA-F])|%([2-7][0-9a-fA-F])"
    rb"|(&#[xX]0{0,5}[2-7][0-9a-fA-F];?|&#0{0,5}(?:3[2-9]|[4-9]\d|1[01]\d|12[0-7]);?|&[a-zA-Z]{2,8};)"
    rb"|\\+([\"'/\\])"
)
_ANY_ESCAPE = re.compile(
    rb"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|%([0-9a-fA-F]{2})|(&#[xX][0-9a-fA-F]{1,7};?|&#\d{1,7};?|&[a-zA-Z]{2,8};)"
    rb"|\\+([\"'/\\])"
)
_ESCAPE_SIGNS = (b"\\", b"%", b"&")  # each escape begins with one of them
# Remainder of an undecoded escape that touches the following word: "\\n<key>", "%0A<key>".
_REST_OF_ESCAPE = {b"\\": re.compile(rb"[bfnrt]|u[0-9a-f]{4}|x[0-9a-f]{2}"), b"%": re.compile(rb"[0-9a-f]{2}")}
_NUMBER_CHARACTERS = frozenset("0123456789+-() .")
# Words of the formats themselves. Masking a verify token that equals one of them would make webhooks unreadable.
_FORMAT_WORDS = (
    "whatsapp_business_account messaging_product display_phone_number phone_number_id message_template_status_update "
    "message_template_components_update message_template_quality_update template_category_update account_update "
    "business_capability_update phone_number_quality_update phone_number_name_update smb_message_echoes "
    "response_json conversation_id recipient_id external_id message_id"
)
_PART = re.compile(rb"[a-z0-9]{%d,}" % MIN_LENGTH)
_BASE64 = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_=")


def is_distinctive(secret: str) -> bool:
    """Tell whether a secret differs from ordinary words, numbers and field names, which some people use as secrets."""
    if len(secret) < MIN_LENGTH or is_phone_or_id(secret) or secret.lower() in _FORMAT_WORDS:
        return False
    return not secret.isalpha() or len(secret) >= 12


def is_phone_or_id(secret: str) -> bool:
    """Tell whether a secret may be a phone number or an ID, or part of one."""
    return len(secret) < MIN_NUMBER_LENGTH and _NUMBER_CHARACTERS.issuperset(secret)


@dataclass(frozen=True)
class EscapeLayer:
    """Data with some layers of escapes decoded, and the position of each segment in the original."""

    data: bytes
    inner: EscapeLayer | None = None
    starts: list[int] = field(default_factory=list)  # of each segment, in ``data``
    sources: list[Span] = field(default_factory=list)  # of each segment, in ``inner.data``
    literal: list[bool] = field(default_factory=list)

    def original(self, start: int, end: int) -> Span:
        """Return the span of the original data that decodes to ``data[start:end]``."""
        if self.inner is None:
            return start, end
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1) - 1
        begin, finish = self.sources[first][0], self.sources[last][1]
        if self.literal[first]:
            begin += start - self.starts[first]
        if self.literal[last]:
            finish = self.sources[last][0] + end - self.starts[last]
        return self.inner.original(begin, finish)


def decode_layers(data: bytes, *, ascii_only: bool = True) -> Iterator[EscapeLayer]:
    """Yield the data undecoded, then with one more layer of escapes decoded each time."""
    layer = EscapeLayer(data)
    yield layer
    for _depth in range(MAX_DEPTH):
        decoded = _decode_layer(layer, _ESCAPE if ascii_only else _ANY_ESCAPE)
        if decoded is None:
            return
        layer = decoded
        yield layer


def _decode_layer(layer: EscapeLayer, escape: re.Pattern[bytes]) -> EscapeLayer | None:
    if not any(sign in layer.data for sign in _ESCAPE_SIGNS):
        return None
    pieces: list[bytes] = []
    result = EscapeLayer(b"", inner=layer)
    size = position = 0
    for match in islice(escape.finditer(layer.data), MAX_ESCAPES):
        plain = _decode_character(match)
        if plain is None:
            continue
        for piece, source, literal in (
            (layer.data[position : match.start()], (position, match.start()), True),
            (plain, match.span(), False),
        ):
            if piece:
                result.starts.append(size)
                result.sources.append(source)
                result.literal.append(literal)
                pieces.append(piece)
                size += len(piece)
        position = match.end()
    if not position:
        return None
    rest = layer.data[position:]
    if rest:
        result.starts.append(size)
        result.sources.append((position, len(layer.data)))
        result.literal.append(True)
        pieces.append(rest)
    return EscapeLayer(b"".join(pieces), layer, result.starts, result.sources, result.literal)


def _decode_character(match: re.Match[bytes]) -> bytes | None:
    if match[1]:
        return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
    if byte := match[2] or match[3]:
        return bytes([int(byte, 16)])
    if match[4]:
        text = html.unescape(match[4].decode())
        return text.encode("utf-8", "surrogatepass") if len(text) == 1 else None
    return match[5]


def find_secrets(data: bytes, secrets: Iterable[str], *, tokens: frozenset[bytes] = frozenset()) -> list[Span]:
    """Return the spans of the secrets, in any spelling: escaped in several layers, hex, base64, any case.

    ``tokens`` are further secrets in lowercase, found only as whole words; there may be very many of them.
    """
    looked_for = list(secrets)
    needles = [needle for secret in looked_for for needle in _build_needles(secret)]
    if not needles and not tokens:
        return []
    found: list[Span] = []
    for layer in decode_layers(data, ascii_only=all(secret.isascii() for secret in looked_for)):
        lowered = layer.data.lower()
        for needle in needles:
            if needle.text in lowered:
                found += [layer.original(*span) for span in needle.find(lowered, layer.data)]
            if needle.is_plain and (length := needle.find_beginning_at_end(lowered)):
                found.append(layer.original(len(lowered) - length, len(lowered)))
        if tokens:
            found += [layer.original(*span) for span in _find_words(lowered, tokens)]
    return found


def _find_words(lowered: bytes, tokens: frozenset[bytes]) -> Iterator[Span]:
    for run in _compile_runs(tokens).finditer(lowered):
        start, end = run.span()
        if run.group() in tokens:
            yield start, end
            continue
        rest = _REST_OF_ESCAPE.get(lowered[start - 1 : start])
        if rest and (escape := rest.match(lowered, start, end)):
            start = escape.end()
            if lowered[start:end] in tokens:
                yield start, end
                continue
        if b"-" in run.group() or b"_" in run.group():  # "id-<key>"
            yield from (part.span() for part in _PART.finditer(lowered, start, end) if part.group() in tokens)


@lru_cache(maxsize=8)
def _compile_runs(tokens: frozenset[bytes]) -> re.Pattern[bytes]:
    """Return the pattern of runs of word characters that are long enough to hold one of the tokens."""
    return re.compile(rb"[a-z0-9_-]{%d,}" % min(map(len, tokens)))


@dataclass(frozen=True)
class _Needle:
    text: bytes  # lowercase
    is_base64: bool = False
    is_plain: bool = False  # its beginning at the end of the data is a match, too: the data may have been cut there

    def find(self, lowered: bytes, data: bytes) -> Iterator[Span]:
        at = lowered.find(self.text)
        while at >= 0:
            end = at + len(self.text)
            yield _find_base64_run(data, at, end) if self.is_base64 else (at, end)
            at = lowered.find(self.text, end)

    def find_beginning_at_end(self, lowered: bytes) -> int:
        """Return the length of the longest beginning with which the data ends. 0: none of MIN_BEGINNING and more."""
        last = lowered[-(len(self.text) - 1) :]
        at = last.find(self.text[:MIN_BEGINNING])
        while at >= 0 and not self.text.startswith(last[at:]):
            at = last.find(self.text[:MIN_BEGINNING], at + 1)
        return len(last) - at if at >= 0 else 0


def _find_base64_run(data: bytes, start: int, end: int) -> Span:
    """Return the whole base64 text around a match, up to 200 bytes on each side."""
    first, last = max(0, start - 200), min(len(data), end + 200)
    while start > first and data[start - 1] in _BASE64:
        start -= 1
    while end < last and data[end] in _BASE64:
        end += 1
    return start, end


@lru_cache(maxsize=2048)
def _build_needles(secret: str) -> tuple[_Needle, ...]:
    if len(secret) < MIN_LENGTH:
        return ()
    plain = secret.encode("utf-8", "surrogatepass")
    texts = {plain, plain.hex().encode(), plain.replace(b" ", b"+")}
    found = [_Needle(text.lower(), is_plain=text == plain) for text in texts]
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        whole = (shift + len(plain)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(b"\0" * shift + plain)[first:whole].lower()
            if len(core) >= MIN_CORE_LENGTH:
                found.append(_Needle(core, is_base64=True))
    return tuple(dict.fromkeys(found))


def mask_spans(data: bytes, spans: Iterable[Span], *, with_: bytes = b"*") -> bytes:
    """Overwrite these spans; the length does not change."""
    changed = bytearray(data)
    for start, end in spans:
        changed[start:end] = with_ * (end - start)
    return bytes(changed)
