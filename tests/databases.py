"""Test databases: one migrated template per run, a copy per process, and deletion of committed rows.

Migrating takes as long as a hundred tests. A child process migrates the template during collection, and every pytest
process copies it (TEST["TEMPLATE"] in tests.settings).
"""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import psycopg2
from django.core.management import call_command
from django.db import OperationalError, connection, transaction

from config.devstack.processes import file_lock, spawn_process

TEMPLATE = "migrated"
MIGRATE = [sys.executable, "-m", "tests.databases"]
# Rows that `migrate` creates. No transactional test changes them.
PRESERVED_TABLES = [
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "audit_record",  # emptied separately
]
DELETE_ROWS = """
DO $$
DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica;  -- skips the checks of foreign keys
    IF EXISTS (SELECT FROM audit_record) THEN  -- append-only: only this trigger runs for replicas too
        ALTER TABLE audit_record DISABLE TRIGGER audit_append_only;
        DELETE FROM audit_record;
        ALTER TABLE audit_record ENABLE ALWAYS TRIGGER audit_append_only;
    END IF;
    FOREACH name IN ARRAY ARRAY[{names}] LOOP
        EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', name);  -- waits for transactions that still write
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$
"""


def start_migrating() -> subprocess.Popen[bytes]:
    return spawn_process(MIGRATE, on_parent_death=signal.SIGKILL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until_migrated() -> None:
    """Wait for the child. If it failed, migrate again in this process, so that the error is shown."""
    folder = Path(os.environ["DATA_DIR"])
    with file_lock(folder / "migrating"):
        is_done = (folder / TEMPLATE).exists()
    if not is_done:
        subprocess.run(MIGRATE, check=True)


def create_migrated_database(name: str) -> str:
    wait_until_migrated()
    execute_statements(os.environ["DATABASE_URL"], f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return name


def execute_statements(url: str, *statements: str) -> None:
    database = psycopg2.connect(url)
    database.autocommit = True
    with database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    database.close()


def connect_as_other_client() -> Any:
    """Open another session on the test database, without Django's options."""
    settings = connection.get_connection_params()
    return psycopg2.connect(**{name: settings[name] for name in ("dbname", "user", "password", "host", "port")})


def migrate() -> None:
    folder, url = Path(os.environ["DATA_DIR"]), os.environ["DATABASE_URL"]
    with file_lock(folder / "migrating"):
        if (folder / TEMPLATE).exists():
            return
        execute_statements(url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
        os.environ["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{TEMPLATE}"
        django.setup()
        call_command("migrate", verbosity=0)
        connection.close()  # PostgreSQL copies only databases without connections
        (folder / TEMPLATE).touch()


def empty_tables(*_: Any) -> None:
    """Delete all committed rows but those of `migrate`. Raises OperationalError after three deadlocks.

    A closing browser may still send a draft, and that request may lock the tables in another order. PostgreSQL then
    cancels one of the two transactions.
    """
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor)) - set(PRESERVED_TABLES)
    statement = DELETE_ROWS.format(names=", ".join(f"'{table}'" for table in sorted(tables)))
    for tries_left in (2, 1, 0):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
            return
        except OperationalError:
            if not tries_left:
                raise


if __name__ == "__main__":
    gc.disable()  # saves a quarter of the time: the many model states are never freed anyway
    migrate()
