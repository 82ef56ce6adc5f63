"""Verification of a backup: every file is there, unchanged, and no other."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .archives import CHUNK, HashingReader, read_entries
from .manifest import (
    CHECKSUMS_NAME,
    DATABASE_FOLDER,
    ERASURES_NAME,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MEDIA_FOLDER,
    BackupError,
    Manifest,
    ReadManifest,
    parse_manifest,
)
from .progress import Progress

MAX_NAMED = 5  # files or tables named in a sentence
CHECKSUM_LINE = re.compile(rb"([0-9a-f]{64})  (.+)\n")
SPOOL_BYTES = 16 * CHUNK
Digest = bytes  # SHA-256, not as text: there may be a million of them


@dataclass(frozen=True, kw_only=True)
class VerifiedBackup:
    """A backup in which nothing is damaged."""

    manifest: Manifest
    is_signed: bool  # by the SECRET_KEY of this portal
    checksums: dict[str, Digest]  # by name
    erasure_log: str
    bytes: int


def verify_backup(source: Path | IO[bytes], *, progress: Progress) -> VerifiedBackup:
    """Read the whole backup and compare it with its checksums. Raises BackupError and names what is damaged."""
    found: dict[str, Digest] = {}
    repeated: list[str] = []
    kept = {MANIFEST_NAME: b"", ERASURES_NAME: b""}
    total = 0
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as checksums:
        for name, content in read_entries(source):
            reader = HashingReader(content)
            if name in kept:
                kept[name] = _read_all(reader, limit=MAX_MANIFEST_BYTES if name == MANIFEST_NAME else None)
            elif name == CHECKSUMS_NAME:
                shutil.copyfileobj(reader, checksums, CHUNK)
            else:
                reader.drain()
            if name in found:
                repeated.append(name)
            found[name] = reader.digest
            total += reader.size
            progress.update("verify", files=len(found), bytes=total)
        checksums.seek(0)
        read = _check(found, kept[MANIFEST_NAME], checksums, repeated)
    _check_figures(read.manifest, found)
    progress.finish("verify", files=len(found), bytes=total)
    return VerifiedBackup(
        manifest=read.manifest,
        is_signed=read.is_signed_by_these_keys(),
        checksums=found,
        erasure_log=kept[ERASURES_NAME].decode(errors="replace"),
        bytes=total,
    )


def _read_all(reader: HashingReader, *, limit: int | None) -> bytes:
    parts = []
    while part := reader.read(CHUNK):
        parts.append(part)
        if limit is not None and reader.size > limit:
            raise BackupError(f"{MANIFEST_NAME} is damaged.")
    return b"".join(parts)


def _check(found: dict[str, Digest], manifest: bytes, checksums: IO[bytes], repeated: list[str]) -> ReadManifest:
    if MANIFEST_NAME not in found:
        raise BackupError(f"The backup is incomplete: {MANIFEST_NAME}, its last file, is missing.")
    read = parse_manifest(manifest)
    if found.get(CHECKSUMS_NAME, b"").hex() != read.manifest.checksums_sha256:
        raise BackupError(f"{CHECKSUMS_NAME} is damaged.")
    missing: list[str] = []
    damaged: list[str] = []
    listed = 0
    for line in checksums:
        name, digest = _parse_checksum(line)
        listed += 1
        if name not in found:
            missing.append(name)
        elif found[name] != digest:
            damaged.append(name)
    unexpected = list(repeated)
    if listed - len(missing) != len(found) - 2:  # the manifest and the checksums are not in the list
        checksums.seek(0)
        unexpected += found.keys() - {CHECKSUMS_NAME, MANIFEST_NAME} - {_parse_checksum(line)[0] for line in checksums}
    problems = {"missing": sorted(missing), "damaged": sorted(damaged), "unexpected": sorted(unexpected)}
    if any(problems.values()):
        raise BackupError(" ".join(_describe(kind, names) for kind, names in problems.items() if names))
    return read


def _describe(kind: str, names: list[str]) -> str:
    return f"{kind.capitalize()} files: {name_first(names)}."


def name_first(names: list[str]) -> str:
    """Return the first names, and how many follow."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def _parse_checksum(line: bytes) -> tuple[str, bytes]:
    match = CHECKSUM_LINE.fullmatch(line)
    if match is None:
        raise BackupError(f"{CHECKSUMS_NAME} is damaged.")
    return match[2].decode(errors="replace"), bytes.fromhex(match[1].decode())


def _check_figures(manifest: Manifest, found: dict[str, Digest]) -> None:
    media = sum(name.startswith(MEDIA_FOLDER) for name in found)
    if media != manifest.media_files or not any(name.startswith(DATABASE_FOLDER) for name in found):
        raise BackupError("The manifest and the files do not agree.")
