"""Flood guard: reject unknown webhook tokens cheaply under load.

Up to MAX_LOOKUPS_PER_SECOND unknown tokens are looked up in the database. Above that, a token is looked up only if this
portal signed it (``encryption.has_valid_signature``) or it is in the list of valid tokens, read once a second. All
others get a 404 without a database query, a worker slot or a read of the body. New tokens are always signed.
"""

from __future__ import annotations

import time

from django.db.models.functions import Coalesce
from django.utils import timezone

from channels_setup import encryption
from channels_setup.models import WebhookAddress

WEBHOOK_PREFIX = "/webhooks/"
MAX_LOOKUPS_PER_SECOND = 20  # unknown tokens per process
REFRESH_SECONDS = 1.0


class UnknownTokenGuard:
    """State of one web process. Threads share it without a lock, so the counts are approximate."""

    def __init__(self) -> None:
        self.second, self.seen = 0, 0
        self.addresses: frozenset[tuple[str, bytes]] | None = None
        self.read_at = self.probed_at = float("-inf")

    def is_refused(self, path: str) -> bool:
        """Return True if the path certainly is no webhook address. False: it must be looked up."""
        if not path.startswith(WEBHOOK_PREFIX) or self.addresses is None or not self._is_flood():
            return False
        kind, _slash, token = path.removeprefix(WEBHOOK_PREFIX).rstrip("/").partition("/")
        if encryption.has_valid_signature(token) or (kind, encryption.fingerprint(token)) in self.addresses:
            return False
        now = time.monotonic()
        if now - max(self.read_at, self.probed_at) > REFRESH_SECONDS:
            self.probed_at = now
            return False  # this one is looked up, and count_unknown() refreshes the list
        return True

    def count_unknown(self) -> None:
        """Count an address that was looked up and not found."""
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
    """Return (kind, token fingerprint) of every valid address."""
    rows = WebhookAddress.objects.all().valid(timezone.now())
    found = rows.values_list(Coalesce("api_channel__kind", "chat_channel__kind"), "digest")
    return frozenset((kind, bytes(digest)) for kind, digest in found)
