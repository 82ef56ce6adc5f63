"""Append-only log of erasures outside the database, so that a restored dump does not bring erased people back.

Each line has the contact's number, the time, and keyed hashes of its identifiers, so that the person is found again
even if numbers changed. It contains no personal data. The line is written before the erasure commits: a line without
an erasure is carried out by the next look.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils.crypto import salted_hmac

from bridge import service_window
from bridge.models import Contact, LoggedErasure

logger = logging.getLogger(__name__)

SALT = "okno.erasure log"
SCAN_BATCH = 2_000


class ErasureLogUnavailable(Exception):
    """The log cannot be written, so nothing was erased. The text says why."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of the log."""

    log_id: uuid.UUID
    at: datetime
    contact: int
    hashes: frozenset[str]


def append_erasures(contacts: Sequence[Contact]) -> list[uuid.UUID]:
    """Append the erasures of a person's contacts and return the lines' IDs. Raises ErasureLogUnavailable."""
    at = service_window.database_now().isoformat()
    lines = {
        (log_id := uuid.uuid4()): {
            "id": str(log_id),
            "at": at,
            "contact": contact.pk,
            "hashes": sorted(hash_identifiers(contact, settings.SECRET_KEY)),
        }
        for contact in contacts
    }
    try:
        _append_lines(Path(settings.ERASURE_LOG), [json.dumps(line) for line in lines.values()])
    except OSError as problem:
        logger.exception("erasure log not written")
        raise ErasureLogUnavailable(f"{settings.ERASURE_LOG}: {problem.strerror}") from problem
    return list(lines)


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)  # DATA_DIR on a new installation
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = os.fstat(descriptor).st_size
        is_torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"  # a crash: do not append to half a line
        data = "".join([*(["\n"] if is_torn else []), *(f"{line}\n" for line in lines)]).encode()
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)  # nothing was erased, so no line may stay
            raise
    finally:
        os.close(descriptor)


def read_entries() -> Iterator[LogEntry]:
    """Read the log. A damaged line is reported and left out."""
    path = Path(settings.ERASURE_LOG)
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            yield LogEntry(
                log_id=uuid.UUID(row["id"]),
                at=datetime.fromisoformat(row["at"]),
                contact=int(row["contact"]),
                hashes=frozenset(row["hashes"]),
            )
        except (ValueError, KeyError, TypeError):
            logger.exception("line of the erasure log not readable", extra={"line": number})


def merge_lines(lines: Sequence[str]) -> int:
    """Append the lines of another copy of the log that this one does not have. Return how many."""
    path = Path(settings.ERASURE_LOG)
    known = {read_log_id(line) for line in path.read_text(encoding="utf-8").splitlines()} if path.exists() else set()
    missing = {log_id: line for line in lines if (log_id := read_log_id(line)) and log_id not in known}
    if missing:
        _append_lines(path, list(missing.values()))
    return len(missing)


def read_log_id(line: str) -> uuid.UUID | None:
    """Return the ID of a line, or None if the line is damaged."""
    try:
        return uuid.UUID(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def list_missing_entries() -> list[LogEntry]:
    """Return the entries that this database does not know: it was restored from a dump made before the erasure."""
    entries = {entry.log_id: entry for entry in read_entries()}
    known = set(LoggedErasure.objects.filter(log_id__in=entries).values_list("log_id", flat=True))
    return [entry for log_id, entry in entries.items() if log_id not in known]


def find_restored_contacts(entries: list[LogEntry], *, by_number: bool = False) -> dict[uuid.UUID, list[int]]:
    """Return the contacts that each entry means: the same number or the same identifiers, known before the erasure.

    The number is hashed with the contact's age. ``by_number``: compare it alone.
    """
    found: dict[uuid.UUID, list[int]] = {entry.log_id: [] for entry in entries}
    by_hash = {value: entry for entry in entries for value in entry.hashes}
    latest = max((entry.at for entry in entries), default=None)
    if latest is None:
        return found
    by_pk = {entry.contact: entry for entry in entries} if by_number else {}
    for contact in Contact.objects.filter(erased_at=None, created_at__lte=latest).iterator(SCAN_BATCH):
        if (entry := by_pk.get(contact.pk)) and contact.created_at <= entry.at:
            found[entry.log_id].append(contact.pk)
        for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            for value in hash_identifiers(contact, key):
                entry = by_hash.get(value)
                if entry and contact.created_at <= entry.at and contact.pk not in found[entry.log_id]:
                    found[entry.log_id].append(contact.pk)
    return found


def hash_identifiers(contact: Contact, key: str | bytes) -> set[str]:
    """Return keyed hashes of a contact's identifiers. A phone is hashed without its channel, which may change too."""
    channel = contact.api_channel_id
    values = {
        *(f"phone {phone}" for phone in (contact.phone_key, contact.address_key) if phone),
        f"{contact.pk} created {contact.created_at.isoformat()}",
        *(f"{channel} id {value}" for value in (contact.external_id, contact.user_id, contact.caller_id) if value),
    }
    return {salted_hmac(SALT, value, secret=key, algorithm="sha256").hexdigest()[:32] for value in values}
