"""Search for words in everything that the portal stores, in every spelling that formats give them."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import redis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection

_BYTEA = re.compile(rb"\\x([0-9a-f]{2,})")
_BETWEEN_DIGITS = re.compile(rb"(?<=\d)(?:[ ().+\-]|\xc2\xa0)+(?=\d)")


def dump_database() -> dict[str, bytes]:
    """Return the rows of every table as `pg_dump --data-only` writes them, of this transaction. Bytes are decoded."""
    dumped = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in cursor.fetchall():
            rows = io.BytesIO()
            cursor.copy_expert(f'COPY "{table}" TO STDOUT', rows)
            text = rows.getvalue().replace(b"\\\\", b"\\")
            decoded = [bytes.fromhex(found[1].decode()) for found in _BYTEA.finditer(text) if len(found[1]) % 2 == 0]
            dumped[table] = b"\n".join([text, *decoded])
    dumped["decoded sessions"] = b"\n".join(repr(row.get_decoded()).encode() for row in Session.objects.all())
    return dumped


def read_folders(*folders: Path) -> bytes:
    """Return the names and contents of all files."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"\n".join(part for path in files for part in (str(path).encode(), path.read_bytes()))


def read_caches() -> bytes:
    """Return keys and values of Redis and of Django's caches in memory."""
    parts: list[bytes] = []
    client = redis.Redis.from_url(settings.REDIS_URL)
    for key in client.scan_iter(count=1000):
        parts += [key, client.dump(key) or b""]
    for cache in caches.all():
        stored = getattr(cache, "_cache", None)
        parts += [pickle.dumps(dict(stored))] if isinstance(stored, dict) else []
    return b"\n".join(parts)


def find_traces(data: bytes, words: Mapping[str, str], *, phones: Iterable[str] = ()) -> list[str]:
    """Return the names of the words that the data contains, and the phones whose digits it contains."""
    lowered = re.sub(rb"\\+", rb"\\", data.decode(errors="replace").lower().encode())
    found = [
        name
        for name, word in words.items()
        if any(spelling in lowered for spelling in _list_spellings(word))
        or any(spelling in data for spelling in _list_base64(word))
    ]
    digits = _BETWEEN_DIGITS.sub(b"", unquote_to_bytes(lowered.replace(b"+", b" ")))
    return found + [phone for phone in phones if phone.encode() in digits or phone.encode() in lowered]


def _list_spellings(word: str) -> set[bytes]:
    texts = {word, json.dumps(word)[1:-1], quote(word), "".join(f"&#{ord(letter)};" for letter in word)}
    texts |= {"".join(f"\\u{ord(letter):04x}" for letter in word), word.encode().hex()}
    return {text.lower().encode() for text in texts}


def _list_base64(word: str) -> set[bytes]:
    """Return the part of the word's base64 that does not depend on its neighbors, at each of the three offsets."""
    raw = word.encode()
    encoded = set()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        length = len(raw) * 8 // 6 - 1
        encoded.add(text[start : start + length])
    return encoded
