"""Single values from hostile JSON or form bodies, cast or refused with a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from .bodies import BadBody

LARGEST_ID = 2**63 - 1  # bigint
MOST_FILES = 30


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """A file that came or goes by link; or one to be fetched from the provider by its id there."""

    url: str = ""
    name: str = ""
    mime: str = ""
    external_id: str = ""
    sha256: str = ""  # hex
    size: int | None = None
    stored: str = ""  # of ours: where it lies in the storage


def as_text(value: Any) -> str:
    """Text of a scalar; empty for null and for anything that is not a scalar."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | dict | list):
        return ""
    return str(value)


def required_text(value: Any, name: str) -> str:
    text = as_text(value).strip()
    if not text:
        raise BadBody(_("“%(name)s” is missing.") % {"name": name})
    return text


def as_id(value: Any, name: str = "id") -> int | None:
    """An id given as a number or a numeric string; None where absent. Refuses what is no id of ours."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadBody(_("“%(name)s” must be a whole number.") % {"name": name})
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) > LARGEST_ID:
        raise BadBody(_("“%(name)s” must be a whole number.") % {"name": name})
    return int(text)


def as_time(value: Any, name: str = "timestamp") -> datetime | None:
    """Unix seconds, as a number or a numeric string; None where absent or empty."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        seconds = float(value)
        if not math.isfinite(seconds) or not 0 <= seconds < 253402300800:  # the year 9999
            raise ValueError
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise BadBody(_("“%(name)s” must be Unix time in seconds.") % {"name": name}) from None


def as_files(value: Any, name: str) -> tuple[FileInfo, ...]:
    """Files by link, each an object with ``url`` or the bare link itself. Only web links pass."""
    if value in (None, "", []):
        return ()
    if not isinstance(value, list) or len(value) > MOST_FILES:
        raise BadBody(_("“%(name)s” must be a list of at most %(most)d files.") % {"name": name, "most": MOST_FILES})
    return tuple(_file(item) for item in value)


def _file(item: Any) -> FileInfo:
    item = {"url": item} if isinstance(item, str) else item
    url = as_text(item.get("url")).strip() if isinstance(item, dict) else ""
    if not url.lower().startswith(("https://", "http://")) or len(url) > 2000:
        raise BadBody(_("Each file needs a “url” that begins with https://."))
    return FileInfo(url=url, name=as_text(item.get("name"))[:200], mime=as_text(item.get("mime"))[:100])


def as_number(value: Any) -> int | None:
    """An id of somebody else's: a number or a numeric string, never zero; None for anything else."""
    text = as_text(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if 0 < number <= LARGEST_ID else None
