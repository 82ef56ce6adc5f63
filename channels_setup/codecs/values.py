"""Casting of single values from untrusted JSON or form bodies. Refusals are BadBody with a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.utils.translation import gettext_lazy as _

from .bodies import BadBody

MAX_ID = 2**63 - 1  # bigint
MAX_FILES = 30
MAX_TIME_LENGTH = 64  # characters
# One day inside the calendar's limits, so that every time zone can show these times.
EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """A file: by link, by its ID at the provider, or in Okno's storage."""

    url: str = ""
    name: str = ""
    mime: str = ""
    external_id: str = ""
    sha256: str = ""  # hex
    size: int | None = None
    stored: str = ""  # path in Okno's storage


def as_text(value: Any) -> str:
    """Return the text of a scalar, or "" for null, booleans, objects and lists."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | dict | list):
        return ""
    return str(value)


def require_text(value: Any, name: str) -> str:
    """Return the text of a scalar. Raises BadBody if it is empty."""
    text = as_text(value).strip()
    if not text:
        raise BadBody(_("“%(name)s” is missing.") % {"name": name})
    return text


def parse_whole_number(text: str | None, *, largest: int = MAX_ID) -> int | None:
    """Return a number written in ASCII digits only; None for any other text and for numbers above ``largest``.

    ``str.isdigit`` does not suffice: "²" passes it, and ``int`` refuses both "²" and 4,400 digits.
    """
    if not text or len(text) > 19 or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= largest else None


def parse_iso_time(text: str | None, *, zone: tzinfo | None = None) -> datetime | None:
    """Parse an ISO 8601 date or time into UTC; None for any other text.

    ``zone`` applies to a text without an offset; without ``zone`` such a text is refused. Times are clamped to EARLIEST
    and LATEST.
    """
    if not text or len(text) > MAX_TIME_LENGTH or not text.isascii():
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            if zone is None:
                return None
            at = at.replace(tzinfo=zone)
        return min(max(at.astimezone(UTC), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        return None


def parse_id(value: Any, name: str = "id") -> int | None:
    """Return an ID given as a number or a numeric string, or None if absent. Raises BadBody for anything else."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadBody(_("“%(name)s” must be a whole number.") % {"name": name})
    number = value if isinstance(value, int) else parse_whole_number(value.strip())
    if number is None or not 0 <= number <= MAX_ID:
        raise BadBody(_("“%(name)s” must be a whole number.") % {"name": name})
    return number


def parse_unix_time(value: Any, name: str = "timestamp") -> datetime | None:
    """Parse Unix seconds, a number or a numeric string; None if absent. Raises BadBody for anything else."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        seconds = float(value)
        if not math.isfinite(seconds) or not 0 <= seconds <= LATEST.timestamp():
            raise ValueError
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise BadBody(_("“%(name)s” must be Unix time in seconds.") % {"name": name}) from None


def parse_files(value: Any, name: str) -> tuple[FileInfo, ...]:
    """Parse a list of files: each a link or an object with ``url``. Raises BadBody for links other than http(s)."""
    if value in (None, "", []):
        return ()
    if not isinstance(value, list) or len(value) > MAX_FILES:
        raise BadBody(_("“%(name)s” must be a list of at most %(most)d files.") % {"name": name, "most": MAX_FILES})
    return tuple(_parse_file(item) for item in value)


def _parse_file(item: Any) -> FileInfo:
    item = {"url": item} if isinstance(item, str) else item
    url = as_text(item.get("url")).strip() if isinstance(item, dict) else ""
    if not url.lower().startswith(("https://", "http://")) or len(url) > 2000:
        raise BadBody(_("Each file needs a “url” that begins with https://."))
    return FileInfo(url=url, name=as_text(item.get("name"))[:200], mime=as_text(item.get("mime"))[:100])


def parse_external_id(value: Any) -> int | None:
    """Return an ID of another system, a number or a numeric string above zero; None for anything else."""
    return parse_whole_number(as_text(value).strip()) or None
