"""The oldest supported versions of PostgreSQL and of the broker (docs/install.md)."""

from __future__ import annotations

from typing import Any

OLDEST_POSTGRES = 15
OLDEST_REDIS = 7  # Valkey 8 and 9 report themselves as Redis 7.2


class ServerTooOld(Exception):
    """A server is too old. Its text is a sentence."""


def check_postgres(connection: Any) -> None:
    """Raise ServerTooOld. Needs an open connection."""
    version = connection.pg_version // 10_000
    if version < OLDEST_POSTGRES:
        raise ServerTooOld(f"PostgreSQL {version} is too old. Okno needs PostgreSQL {OLDEST_POSTGRES} or newer.")


def check_broker(client: Any) -> None:
    """Raise ServerTooOld."""
    version = str(client.info("server").get("redis_version", ""))
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < OLDEST_REDIS:
        raise ServerTooOld(f"Redis {version} is too old. Okno needs version {OLDEST_REDIS} or newer.")
