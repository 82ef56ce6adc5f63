"""Per-process cache of settings that the message flow reads for every webhook: at most CACHE_SECONDS old."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

CACHE_SECONDS = 2.0  # delay until every process sees a channel's new settings and keys


class SettingsCache(Generic[Key, Value]):
    """Cache of the values that ``read`` returns. None is not cached.

    One channel may get hundreds of events a second; without the cache each would read the same rows.
    """

    def __init__(self, read: Callable[[Key], Value | None]) -> None:
        self.read = read
        self.entries: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value | None:
        """Return the cached value if it is new enough, else read it."""
        now = monotonic()
        read_at, found = self.entries.get(key) or (-1e9, None)
        if found is None or now - read_at > CACHE_SECONDS:
            found = self.read(key)
            if found is None:
                self.discard(key)
            else:
                self.entries[key] = now, found
        return found

    def discard(self, key: Key) -> None:
        """Read this value again next time."""
        self.entries.pop(key, None)
