"""Checks of PostgreSQL, Redis, beat and the workers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import redis
from django.conf import settings
from django.db import DatabaseError, connection

from bridge.maintenance import housekeeping
from bridge.maintenance.portal_checks import MAX_HEARTBEAT_AGE
from channels_setup.database_schema import read_schema_state
from config.environment import read_setting
from config.monitoring.server_versions import OLDEST_POSTGRES, OLDEST_REDIS, is_old_redis

from .findings import Finding, error, warning

MAX_CLOCK_SKEW = 2.0  # seconds
SPARE_CONNECTIONS = 5  # for commands, beat and administrators
SAFE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")  # off: a crash loses or damages committed data


def check_database() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as problem:
        first_line = str(problem).strip().splitlines()[0]
        yield error("database.unreachable", f"PostgreSQL: {first_line}", "Start it, or correct DATABASE_URL.")


def check_database_server() -> Iterator[Finding]:
    version = int(read_parameter("server_version_num")) // 10_000
    if version < OLDEST_POSTGRES:
        problem = f"PostgreSQL {version} is too old."
        yield error("database.version", problem, f"Use PostgreSQL {OLDEST_POSTGRES} or newer.")
    for name in SAFE_SETTINGS:
        if read_parameter(name) == "off":
            problem = f"{name} is off: a crash of the machine loses messages that were confirmed."
            yield error("database.unsafe", problem, f"Set {name} = on in postgresql.conf.")
    if (encoding := read_parameter("server_encoding")) != "UTF8":
        yield error("database.encoding", f"The database's encoding is {encoding}.", "Create it with ENCODING 'UTF8'.")


def check_connections() -> Iterator[Finding]:
    available = int(read_parameter("max_connections")) - int(read_parameter("superuser_reserved_connections"))
    web = read_setting("WEB_PROCESSES") * read_setting("WEB_THREADS")
    needed = web + read_setting("WORKERS") * read_setting("WORKER_CONCURRENCY") + SPARE_CONNECTIONS
    if needed > available:
        problem = f"PostgreSQL allows {available} connections; web and workers of one machine need {needed}."
        yield error("database.connections", problem, "Raise max_connections, or use PgBouncer (docs/scaling.md).")


def check_clock() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        (theirs,) = cursor.fetchone()
        after = time.time()
    skew = max(before - theirs, theirs - after, 0.0)
    if skew > MAX_CLOCK_SKEW:
        problem = f"The clocks of this machine and of PostgreSQL differ by {skew:.0f} s."
        yield warning("database.clock", problem, "Synchronize both with NTP.")


def check_migrations() -> Iterator[Finding]:
    state = read_schema_state()
    if state.missing:
        problem = f"{len(state.missing)} migrations are not applied."
        yield error("database.migrations", problem, "Run `manage.py migrate`.")
    if state.unknown:
        problem = f"The database has {len(state.unknown)} migrations of a newer release."
        yield warning("database.newer", problem, "Start the newer release.")


def check_redis() -> Iterator[Finding]:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2) as broker:
            broker.ping()
            facts = broker.info()
    except redis.RedisError as refusal:
        yield error("redis.unreachable", f"Redis: {refusal}", "Start it, or correct REDIS_URL.")
        return
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        problem = f"The eviction policy of Redis is {policy}: it may drop wake-ups of workers."
        yield error("redis.policy", problem, "Set maxmemory-policy noeviction.")
    version = str(facts.get("redis_version", ""))
    if is_old_redis(version):
        yield error("redis.version", f"Redis {version} is too old.", f"Use Redis {OLDEST_REDIS} or newer, or Valkey 8.")


def check_workers() -> Iterator[Finding]:
    ages = housekeeping.get_heartbeat_ages()
    for name, max_age in MAX_HEARTBEAT_AGE.items():
        age = ages.get(name)
        if age is not None and age <= max_age:
            continue
        what = "Beat or the worker of the queue housekeeping" if name == "beat" else f"The worker of the queue {name}"
        since = "has never run" if age is None else f"has not run for {age:.0f} s"
        yield error(f"worker.{name}", f"{what} {since}.", "Start it, and read its log.")


def read_parameter(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return str(cursor.fetchone()[0])
