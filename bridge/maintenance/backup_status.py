"""Newest backup, as the commands record it in the data folder: for health, metrics, alerts and `doctor`.

In a file and not in the database, which a restore would set back.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

FILE_NAME = "backup-status.json"


@dataclass(frozen=True, kw_only=True)
class BackupStatus:
    """The newest backup. `verified_at` is None if nobody has verified it; `place` is "-" for standard output."""

    name: str
    made_at: datetime
    place: str
    bytes: int
    verified_at: datetime | None = None

    @property
    def age(self) -> timedelta:
        return timezone.now() - self.made_at

    def is_too_old(self) -> bool:
        """Return whether the backup is older than BACKUP_MAX_AGE_HOURS. 0 hours: never."""
        hours: int = settings.BACKUP_MAX_AGE_HOURS
        return bool(hours) and self.age > timedelta(hours=hours)


def read_status() -> BackupStatus | None:
    """Return the newest backup, or None if none was ever made with this data folder."""
    try:
        row = json.loads(_path().read_text())
        verified = row.pop("verified_at")
        return BackupStatus(
            name=row["name"],
            made_at=datetime.fromisoformat(row["made_at"]),
            place=row["place"],
            bytes=row["bytes"],
            verified_at=datetime.fromisoformat(verified) if verified else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save_created(status: BackupStatus) -> None:
    """Record a new backup."""
    path = _path()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(status), file, indent=1, default=str)
    temporary.replace(path)


def save_verified(name: str) -> None:
    """Record that the newest backup was verified. Verifying another one changes nothing."""
    status = read_status()
    if status is not None and status.name == name:
        save_created(replace(status, verified_at=timezone.now()))


def _path() -> Path:
    return Path(settings.DATA_DIR) / FILE_NAME
