"""Verification of a backup: every file is there, unchanged, and no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .archives import HashingReader, read_entries
from .manifest import (
    CHECKSUMS_NAME,
    DATABASE_FOLDER,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MEDIA_FOLDER,
    BackupError,
    Manifest,
    ReadManifest,
    parse_manifest,
)
from .progress import Progress

MAX_NAMED = 5  # damaged files named in the sentence
CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True, kw_only=True)
class VerifiedBackup:
    """A backup in which nothing is damaged."""

    manifest: Manifest
    is_signed: bool  # by the SECRET_KEY of this portal
    checksums: dict[str, str]  # name → SHA-256
    bytes: int


def verify_backup(source: Path | IO[bytes], *, progress: Progress) -> VerifiedBackup:
    """Read the whole backup and compare it with its checksums. Raises BackupError and names what is damaged."""
    found: dict[str, str] = {}
    repeated: list[str] = []
    kept = {CHECKSUMS_NAME: b"", MANIFEST_NAME: b""}
    total = 0
    for name, content in read_entries(source):
        reader = HashingReader(content)
        if name in kept:
            kept[name] = _read_all(reader)
        else:
            reader.drain()
        if name in found:
            repeated.append(name)
        found[name] = reader.sha256
        total += reader.size
        progress.update("verify", files=len(found), bytes=total)
    read = _check(found, kept, repeated)
    _check_figures(read.manifest, found)
    progress.finish("verify", files=len(found), bytes=total)
    return VerifiedBackup(
        manifest=read.manifest, is_signed=read.is_signed_by_these_keys(), checksums=found, bytes=total
    )


def _read_all(reader: HashingReader) -> bytes:
    parts = []
    while part := reader.read(MAX_MANIFEST_BYTES):
        parts.append(part)
    return b"".join(parts)


def _check(found: dict[str, str], kept: dict[str, bytes], repeated: list[str]) -> ReadManifest:
    if MANIFEST_NAME not in found:
        raise BackupError(f"The backup is incomplete: {MANIFEST_NAME}, its last file, is missing.")
    read = parse_manifest(kept[MANIFEST_NAME])
    if found.get(CHECKSUMS_NAME) != read.manifest.checksums_sha256:
        raise BackupError(f"{CHECKSUMS_NAME} is damaged.")
    expected = _parse_checksums(kept[CHECKSUMS_NAME])
    names = found.keys() - kept.keys()
    problems = {
        "missing": sorted(expected.keys() - names),
        "damaged": sorted(name for name in names & expected.keys() if found[name] != expected[name]),
        "unexpected": sorted({*(names - expected.keys()), *repeated}),
    }
    if any(problems.values()):
        raise BackupError(" ".join(_describe(kind, names) for kind, names in problems.items() if names))
    return read


def _describe(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{kind.capitalize()} files: {', '.join(names[:MAX_NAMED])}{more}."


def _parse_checksums(data: bytes) -> dict[str, str]:
    checksums = {}
    for line in data.decode().splitlines():
        match = CHECKSUM_LINE.fullmatch(line)
        if match is None:
            raise BackupError(f"{CHECKSUMS_NAME} is damaged.")
        checksums[match[2]] = match[1]
    return checksums


def _check_figures(manifest: Manifest, found: dict[str, str]) -> None:
    media = sum(name.startswith(MEDIA_FOLDER) for name in found)
    if media != manifest.media_files or not any(name.startswith(DATABASE_FOLDER) for name in found):
        raise BackupError("The manifest and the files do not agree.")
