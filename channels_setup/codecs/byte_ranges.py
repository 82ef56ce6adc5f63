"""Byte ranges of HTTP requests (RFC 9110, section 14): one range of a file of known size."""

from __future__ import annotations

import re
from typing import NamedTuple

# Numbers of up to 18 digits. Several ranges are allowed to be ignored, and only few programs ask for them.
SINGLE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


class ByteRange(NamedTuple):
    """Positions of the first byte and of the one after the last."""

    start: int
    end: int


class RangeNotSatisfiable(ValueError):
    """The range lies behind the end of the file (416)."""


class RequestedRange(NamedTuple):
    """A range as requested. Without `first`, `last` is the number of bytes at the end of the file."""

    first: int | None
    last: int | None

    def resolve(self, size: int) -> ByteRange:
        """Return the range of a file of this size. Raises RangeNotSatisfiable."""
        if self.first is None:
            start, end = max(0, size - (self.last or 0)), size
        else:
            start, end = self.first, size if self.last is None else min(size, self.last + 1)
        if start >= end:
            raise RangeNotSatisfiable
        return ByteRange(start, end)


def parse_range(header: str) -> RequestedRange | None:
    """Read a Range header. None if it is absent, invalid or lists several ranges: the whole file is the answer."""
    match = SINGLE_RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is not None and last is not None and last < first:
        return None
    return RequestedRange(first, last)
