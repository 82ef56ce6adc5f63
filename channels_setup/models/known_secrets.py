"""Per-process cache of every key of this installation, for redaction. Never shown, never logged."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.models import F, Value

from channels_setup import encryption
from channels_setup.codecs.redaction import redact_json, redact_text
from channels_setup.codecs.secret_search import MIN_LENGTH, is_distinctive

TTL_SECONDS = 30.0  # delay until a key that another process created is known here

_WORD = re.compile(rf"[A-Za-z0-9_-]{{{MIN_LENGTH},}}\Z")
API_CHANNEL, CHAT_CHANNEL, ALERT_ROUTE = "api", "chat", "route"


@dataclass(frozen=True)
class KnownSecrets:
    """All secrets of the installation, in the forms that the search needs."""

    tokens: frozenset[bytes] = frozenset()  # lower case, as ``secret_search.find_secrets`` takes tokens
    other_values: tuple[str, ...] = ()  # secrets with characters that tokens cannot have
    by_channel: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def for_channel(self, *, api_channel: int | None = None, chat_channel: int | None = None) -> Collection[str]:
        """Return the secrets to find in any encoding: those of the channel, and those that are no tokens."""
        own = self.by_channel.get((API_CHANNEL, api_channel or 0), ())
        return {*self.other_values, *own, *self.by_channel.get((CHAT_CHANNEL, chat_channel or 0), ())}


class _Cache:
    def __init__(self) -> None:
        self.lock = Lock()
        self.known = KnownSecrets()
        self.read_at = -1e9
        # Encrypted -> clear. Decrypting every key each time would cost more than the query.
        self.opened: dict[bytes, str] = {}

    def current(self) -> KnownSecrets:
        if time.monotonic() - self.read_at > TTL_SECONDS:
            with self.lock:
                if time.monotonic() - self.read_at > TTL_SECONDS:
                    self._read()
        return self.known

    def _read(self) -> None:
        try:
            rows = _secret_rows()
        except Error:  # broken transaction or no database: use the last known secrets
            return
        opened: dict[bytes, str] = {}
        by_channel: dict[tuple[str, int], tuple[str, ...]] = {}
        for kind, channel, encrypted in rows:
            token = bytes(encrypted)
            try:
                value = self.opened.get(token) or encryption.decrypt(token)
            except ImproperlyConfigured:  # ``manage.py check`` reports it; redaction must not fail
                continue
            opened[token] = value
            if is_distinctive(value):
                by_channel[kind, channel] = (*by_channel.get((kind, channel), ()), value)
        values = {value for value in (*opened.values(), *_settings_secrets()) if is_distinctive(value)}
        known = KnownSecrets(
            tokens=frozenset(value.lower().encode() for value in values if _WORD.match(value)),
            other_values=tuple(value for value in values if not _WORD.match(value)),
            by_channel=by_channel,
        )
        if known != self.known:  # caches compare the same object fast
            self.known = known
        self.opened, self.read_at = opened, time.monotonic()

    def forget(self, **kwargs: Any) -> None:
        """Discard the cache, now and after the commit: another thread may read the old keys before the commit."""
        self._expire()
        if transaction.get_connection().in_atomic_block:
            transaction.on_commit(self._expire)

    def _expire(self) -> None:
        self.read_at = -1e9


def _settings_secrets() -> list[str]:
    """Return the portal's own keys and passwords: database and broker errors may quote them."""
    password = str(settings.DATABASES["default"].get("PASSWORD") or "")
    broker_password = urlsplit(settings.REDIS_URL).password or ""
    return [settings.SECRET_KEY, *settings.FIELD_KEYS, password, broker_password, settings.EMAIL_HOST_PASSWORD]


def _secret_rows() -> list[tuple[str, int, bytes]]:
    from . import AlertRoute, ChatChannel, Credential, Secret, WebhookAddress

    def owned(rows: Any, kind: str, channel: str, token: str = "token") -> Any:
        return rows.exclude(**{channel: None}).order_by().values_list(Value(kind), F(channel), token)

    first, *others = [
        owned(Secret.objects.all(), API_CHANNEL, "api_channel_id"),
        owned(Credential.objects.all(), API_CHANNEL, "api_channel_id"),
        owned(WebhookAddress.objects.all(), API_CHANNEL, "api_channel_id"),
        owned(WebhookAddress.objects.all(), CHAT_CHANNEL, "chat_channel_id"),
        owned(ChatChannel.objects.exclude(secret=None), CHAT_CHANNEL, "pk", "secret"),
        owned(AlertRoute.objects.exclude(secret=None), ALERT_ROUTE, "pk", "secret"),
    ]
    return list(first.union(*others, all=True))


_cache = _Cache()
current, invalidate = _cache.current, _cache.forget


def cached() -> KnownSecrets:
    """Return the cached secrets without a query, for log lines."""
    return _cache.known


def redact(text: str, *, api_channel: int | None = None, chat_channel: int | None = None) -> str:
    """Redact text from a provider, helpdesk or receiver before it is stored or shown."""
    if not text:
        return text
    known = current()
    return redact_text(text, known.for_channel(api_channel=api_channel, chat_channel=chat_channel), tokens=known.tokens)


def redact_tree(value: Any, *, by_name: bool = True) -> Any:
    """Redact every text in a JSON value. Without ``by_name``, redact only this installation's secrets."""
    if not value:
        return value
    known = current()
    return redact_json(value, known.other_values, tokens=known.tokens, by_name=by_name)
