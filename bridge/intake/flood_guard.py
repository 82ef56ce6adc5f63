"""Webhook addresses that are nobody's, refused for next to nothing.

The first few of a second are looked up like any other. In a flood only addresses that may be somebody's are: those that
carry this portal's mark, and those of before the mark, from a list that is read once a second. The rest is answered
without database, place or body. A new address carries the mark, so every process knows it at once.
"""

from __future__ import annotations

import time

from django.db.models.functions import Coalesce
from django.utils import timezone

from channels_setup import encryption
from channels_setup.models import WebhookAddress

PREFIX = "/webhooks/"
FEW = 20  # in a second and process: looked up one by one
FRESH_SECONDS = 1.0


class Strangers:
    """What one web process has seen of them. Its threads may count past each other: no figure here is exact."""

    def __init__(self) -> None:
        self.second, self.seen = 0, 0
        self.addresses: frozenset[tuple[str, bytes]] | None = None
        self.read_at = self.let_through_at = float("-inf")

    def is_refused(self, path: str) -> bool:
        """Whether this is surely nobody's webhook. Where it may be somebody's it must be looked up."""
        if not path.startswith(PREFIX) or self.addresses is None or not self._too_many():
            return False
        kind, _slash, token = path.removeprefix(PREFIX).rstrip("/").partition("/")
        if encryption.is_marked(token) or (kind, encryption.fingerprint(token)) in self.addresses:
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


def _all_addresses() -> frozenset[tuple[str, bytes]]:
    """Return kind and fingerprint of every address in force."""
    rows = WebhookAddress.objects.all().valid(timezone.now())
    found = rows.values_list(Coalesce("api_channel__kind", "chat_channel__kind"), "digest")
    return frozenset((kind, bytes(digest)) for kind, digest in found)
