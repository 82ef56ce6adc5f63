"""Single values from hostile JSON or form bodies, cast or refused with a sentence."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from .bodies import BadBody

LARGEST_ID = 2**63 - 1  # bigint


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
