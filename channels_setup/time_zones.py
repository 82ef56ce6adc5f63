"""Time zones of the IANA database: valid names, and choices with their current UTC offset."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

NAME_LENGTH = 64


@cache
def time_zone_names() -> tuple[str, ...]:
    """Return the names of the IANA database, sorted. Cached, because the list is read from many files."""
    return tuple(sorted(available_timezones()))


def validate_time_zone(name: str) -> None:
    """Raise ``ValidationError`` if the IANA database does not have this time zone."""
    if name not in time_zone_names():
        raise ValidationError(_("Unknown time zone “%(value)s”. Example: Europe/Moscow."), params={"value": name})


def find_time_zone(name: str) -> tzinfo:
    """Return the zone, or the portal's if the name is empty or an update of the IANA database has removed it."""
    try:
        return ZoneInfo(name) if name else timezone.get_default_timezone()
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.get_default_timezone()


def label_time_zone(name: str, *, now: datetime | None = None) -> str:
    """Return the name with its UTC offset of today: ``Asia/Kolkata (UTC+05:30)``."""
    offset = find_time_zone(name).utcoffset(now or timezone.now()) or timedelta()
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{name} (UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02})"


def list_time_zones() -> list[tuple[str, str]]:
    """Return all names with their labels, by name."""
    now = timezone.now()
    return [(name, label_time_zone(name, now=now)) for name in time_zone_names()]
