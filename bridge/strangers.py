"""Webhook addresses that are nobody's, refused for next to nothing.

The first few of a second are looked up like any other, so that a new channel is known at once. A flood of them is
answered from a list of all addresses, read anew once a second: no database, no place, no body read.
"""

from __future__ import annotations

import time

from channels_setup.models import ApiChannel, ChatChannel

PREFIX = "/webhooks/"
FEW = 20  # in a second and process: looked up one by one
FRESH_SECONDS = 1.0


class Strangers:
    """What one web process has seen of them. Its threads may count past each other: no figure here is exact."""

    def __init__(self) -> None:
        self.second, self.seen = 0, 0
        self.addresses: frozenset[str] | None = None
        self.read_at = self.let_through_at = float("-inf")

    def is_refused(self, path: str) -> bool:
        """Whether this is surely nobody's webhook. Where it may be somebody's it must be looked up."""
        if not path.startswith(PREFIX) or self.addresses is None or not self._too_many():
            return False
        if path.rstrip("/") in self.addresses:
            return False
        now = time.monotonic()
        if now - max(self.read_at, self.let_through_at) > FRESH_SECONDS:
            self.let_through_at = now
            return False  # it goes the whole way, and note() reads the list again
        return True

    def note(self) -> None:
        """An address was looked up and is nobody's."""
        now = time.monotonic()
        if self.second != int(now):
            self.second, self.seen = int(now), 0
        self.seen += 1
        if self._too_many() and now - self.read_at > FRESH_SECONDS:
            self.addresses, self.read_at = _all_addresses(), now

    def _too_many(self) -> bool:
        return self.seen > FEW and time.monotonic() - self.second < 2


strangers = Strangers()


def _all_addresses() -> frozenset[str]:
    rows = [model.objects.values_list("kind", "path_token") for model in (ApiChannel, ChatChannel)]
    return frozenset(f"{PREFIX}{kind}/{token}" for found in rows for kind, token in found)
