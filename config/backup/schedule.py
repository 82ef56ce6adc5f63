"""When backups are made, and which ones are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings

from .archives import SUFFIX, remove_backup
from .creation import NAME_FORMAT, lock_folder

RETRY_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class KeepRules:
    """How many days, weeks and months keep their newest backup."""

    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.daily or self.weekly or self.monthly)


def choose_kept(times: Iterable[datetime], rules: KeepRules) -> set[datetime]:
    """Return the backups to keep: the newest of each of the last days, weeks and months that have one."""
    newest_first = sorted(times, reverse=True)
    kept = set(newest_first[:1])
    for count, period in ((rules.daily, "%Y-%m-%d"), (rules.weekly, "%G-%V"), (rules.monthly, "%Y-%m")):
        newest_of_period: dict[str, datetime] = {}
        for made in newest_first:
            newest_of_period.setdefault(made.strftime(period), made)
        kept |= set(list(newest_of_period.values())[:count])
    return kept


def find_backups(folder: Path) -> dict[datetime, Path]:
    """Return the complete backups of a folder by their time. Other files are left alone."""
    found = {}
    for path in folder.glob("okno-*"):
        try:
            made = datetime.strptime(path.name.removesuffix(SUFFIX), NAME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            continue
        found[made] = path
    return found


def delete_old_backups(folder: Path, rules: KeepRules) -> list[Path]:
    """Delete the backups that no rule keeps, and return them."""
    with lock_folder(folder):
        backups = find_backups(folder)
        kept = choose_kept(backups, rules)
        deleted = [path for made, path in sorted(backups.items()) if made not in kept]
        for path in deleted:
            remove_backup(path)
    return deleted


def run_daily(at: str, folder: Path, run: Callable[[], bool]) -> None:
    """Call `run` every day at a time of the portal's time zone, and again an hour after each failure.

    The first run is at once if the newest backup in the folder is older than a day.
    """
    newest = max(find_backups(folder), default=None)
    wait = 0.0
    if newest is not None and datetime.now(UTC) - newest < timedelta(days=1):
        wait = seconds_until(at, now=datetime.now(UTC))
    while True:
        time.sleep(wait)
        wait = seconds_until(at, now=datetime.now(UTC)) if run() else RETRY_SECONDS


def seconds_until(at: str, *, now: datetime) -> float:
    """Return the seconds until the next HH:MM of the portal's time zone."""
    local = now.astimezone(ZoneInfo(settings.TIME_ZONE))
    hour, minute = map(int, at.split(":"))
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while due.timestamp() <= now.timestamp():
        due += timedelta(days=1)
    return due.timestamp() - now.timestamp()
