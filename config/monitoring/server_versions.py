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


def is_old_redis(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdigit() and int(major) < OLDEST_REDIS


def check_broker(client: Any) -> None:
    """Raise ServerTooOld."""
    version = str(client.info("server").get("redis_version", ""))
    if is_old_redis(version):
        raise ServerTooOld(f"Redis {version} is too old. Okno needs version {OLDEST_REDIS} or newer.")
