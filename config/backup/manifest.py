"""Manifest of a backup: what it contains, which keys it needs, and the hashes that protect it.

The manifest is the last entry of a backup, so a backup that was cut off has none. It names the hash of the list of
checksums, which names every other file. Keys are present as keyed hashes with a random salt, which reveal nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

FORMAT = 1
MANIFEST_NAME = "manifest.json"
CHECKSUMS_NAME = "checksums.sha256"
ERASURES_NAME = "erasures.jsonl"
DATABASE_FOLDER = "database/"
MEDIA_FOLDER = "media/"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
SIGNING_SALT = "okno.backup signature"
FINGERPRINT_SALT = "okno.backup key"


class BackupError(Exception):
    """A backup or restore that cannot go on. The text is a sentence for the terminal."""


@dataclass(kw_only=True)
class Manifest:
    """Description of one backup. Counts and migrations are those of the snapshot in the dump."""

    name: str
    made_at: str
    portal_version: str
    public_url: str
    server_version: int  # of PostgreSQL, such as 180001
    dump_version: int  # major version of pg_dump
    migrations: list[str]
    tables: dict[str, int]  # rows
    seconds_since_beat: float | None  # of any component; None: no heartbeat was ever recorded
    keys: dict[str, Any]
    database_bytes: int = 0
    media_files: int = 0
    media_bytes: int = 0
    media_left_out: bool = False
    media_deleted_meanwhile: int = 0
    media_missing: list[str] = field(default_factory=list)
    erasures: int = 0  # lines of the erasure log
    checksums_sha256: str = ""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    @property
    def made(self) -> datetime:
        return datetime.fromisoformat(self.made_at)

    def serialize(self) -> bytes:
        """Return the manifest as signed JSON. The same content always has the same bytes."""
        body = asdict(self)
        body["signature"] = _sign(_canonical(body), settings.SECRET_KEY)
        body["sha256"] = hashlib.sha256(_canonical(body)).hexdigest()
        return _canonical(body)


@dataclass(frozen=True, kw_only=True)
class ReadManifest:
    """A manifest whose own hash is right, and its signature."""

    manifest: Manifest
    signature: str
    signed: bytes

    def is_signed_by_these_keys(self) -> bool:
        return constant_time_compare(self.signature, _sign(self.signed, settings.SECRET_KEY))


def parse_manifest(data: bytes) -> ReadManifest:
    """Parse a manifest and check its own hash. Raises BackupError."""
    try:
        body = json.loads(data)
        version = body["format"]
    except (ValueError, KeyError, TypeError) as problem:
        raise BackupError(f"{MANIFEST_NAME} is damaged.") from problem
    if isinstance(version, int) and version > FORMAT:
        raise BackupError("The backup was made by a newer version of Okno. Install that version, or a newer one.")
    try:
        checksum, signature = body.pop("sha256"), body.pop("signature")
        signed = _canonical(body)
        is_intact = checksum == hashlib.sha256(_canonical({**body, "signature": signature})).hexdigest()
        if not is_intact or data != _canonical({**body, "signature": signature, "sha256": checksum}):
            raise BackupError(f"{MANIFEST_NAME} is damaged.")
        return ReadManifest(manifest=Manifest(**body), signature=signature, signed=signed)
    except (KeyError, TypeError, AttributeError) as problem:
        raise BackupError(f"{MANIFEST_NAME} is damaged.") from problem


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, indent=1, ensure_ascii=True).encode() + b"\n"


def _sign(data: bytes, key: str) -> str:
    return salted_hmac(SIGNING_SALT, data, secret=key, algorithm="sha256").hexdigest()


# --- keys ------------------------------------------------------------------------------------------------


def fingerprint_keys() -> dict[str, Any]:
    """Return salted fingerprints of this portal's SECRET_KEY and FIELD_KEYS. They help nobody to guess the keys."""
    salt = secrets.token_hex(16)
    return {
        "salt": salt,
        "secret_key": _fingerprint(salt, settings.SECRET_KEY),
        "field_keys": [_fingerprint(salt, key) for key in settings.FIELD_KEYS],
    }


def has_same_secret_key(keys: dict[str, Any]) -> bool:
    """Return whether the backup was made with this portal's SECRET_KEY."""
    return hmac.compare_digest(keys["secret_key"], _fingerprint(keys["salt"], settings.SECRET_KEY))


def find_key_differences(keys: dict[str, Any]) -> list[str]:
    """Return a sentence for each key that the backup needs and this portal does not have."""
    salt, sentences = keys["salt"], []
    if not has_same_secret_key(keys):
        sentences.append("SECRET_KEY is not the one the backup was made with.")
    known = {_fingerprint(salt, key) for key in settings.FIELD_KEYS}
    needed: Sequence[str] = keys["field_keys"]
    if missing := sum(key not in known for key in needed):
        sentences.append(f"FIELD_KEYS lacks {missing} of the {len(needed)} keys the backup was made with.")
    return sentences


def _fingerprint(salt: str, key: str) -> str:
    return hmac.new(f"{FINGERPRINT_SALT} {salt}".encode(), key.encode(), hashlib.sha256).hexdigest()
