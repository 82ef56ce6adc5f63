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

WEBHOOK_PREFIX = "/webhooks/"
MAX_LOOKUPS_PER_SECOND = 20  # in a second and process: looked up one by one
REFRESH_SECONDS = 1.0


class UnknownTokenGuard:
    """What one web process has seen of them. Its threads may count past each other: no figure here is exact."""

    def __init__(self) -> None:
        self.second, self.seen = 0, 0
        self.addresses: frozenset[tuple[str, bytes]] | None = None
        self.read_at = self.probed_at = float("-inf")

    def is_refused(self, path: str) -> bool:
        """Whether this is surely nobody's webhook. Where it may be somebody's it must be looked up."""
        if not path.startswith(WEBHOOK_PREFIX) or self.addresses is None or not self._is_flood():
            return False
        kind, _slash, token = path.removeprefix(WEBHOOK_PREFIX).rstrip("/").partition("/")
        if encryption.has_valid_signature(token) or (kind, encryption.fingerprint(token)) in self.addresses:
            return False
        now = time.monotonic()
        if now - max(self.read_at, self.probed_at) > REFRESH_SECONDS:
            self.probed_at = now
            return False  # it goes the whole way, and count_unknown() reads the list again
        return True

    def count_unknown(self) -> None:
        """An address was looked up and is nobody's."""
        now = time.monotonic()
        if self.second != int(now):
            self.second, self.seen = int(now), 0
        self.seen += 1
        if self._is_flood() and now - self.read_at > REFRESH_SECONDS:
            self.addresses, self.read_at = _read_valid_addresses(), now

    def _is_flood(self) -> bool:
        return self.seen > MAX_LOOKUPS_PER_SECOND and time.monotonic() - self.second < 2


unknown_token_guard = UnknownTokenGuard()


def _read_valid_addresses() -> frozenset[tuple[str, bytes]]:
    """Return kind and fingerprint of every address in force."""
    rows = WebhookAddress.objects.all().valid(timezone.now())
    found = rows.values_list(Coalesce("api_channel__kind", "chat_channel__kind"), "digest")
    return frozenset((kind, bytes(digest)) for kind, digest in found)
