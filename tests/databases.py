"""The tests' databases: migrated once a run, copied for each process, and emptied of what a test has committed.

Migrating takes as long as some hundred tests. So a child does it while the tests are being collected, and each
process copies the result (TEST["TEMPLATE"] in tests.settings).
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

MIGRATED = "migrated"
MIGRATE = [sys.executable, "-m", "tests.databases"]
# What migrate itself has put there. No test that commits changes these.
KEPT = ["django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"]
EMPTY = """
DO $$
DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica;  -- a foreign key is not looked up
    FOREACH name IN ARRAY ARRAY[{names}] LOOP
        EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', name);  -- after whoever is still writing
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$
"""


def start_migrating() -> subprocess.Popen[bytes]:
    return spawn_process(MIGRATE, on_parent_death=signal.SIGKILL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until_migrated() -> None:
    """Where the child has failed, it is done again, so that the reason is seen."""
    folder = Path(os.environ["DATA_DIR"])
    with file_lock(folder / "migrating"):
        is_done = (folder / MIGRATED).exists()
    if not is_done:
        subprocess.run(MIGRATE, check=True)


def migrated_copy(name: str) -> str:
    wait_until_migrated()
    command(os.environ["DATABASE_URL"], f"CREATE DATABASE {name} TEMPLATE {MIGRATED}")
    return name


def command(address: str, *statements: str) -> None:
    line = psycopg2.connect(address)
    line.autocommit = True
    with line.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    line.close()


def migrate() -> None:
    folder, address = Path(os.environ["DATA_DIR"]), os.environ["DATABASE_URL"]
    with file_lock(folder / "migrating"):
        if (folder / MIGRATED).exists():
            return
        command(address, f"DROP DATABASE IF EXISTS {MIGRATED}", f"CREATE DATABASE {MIGRATED}")
        os.environ["DATABASE_URL"] = f"{address.rpartition('/')[0]}/{MIGRATED}"
        django.setup()
        call_command("migrate", verbosity=0)
        connection.close()  # or nobody could copy it
        (folder / MIGRATED).touch()


def empty(*_: Any) -> None:
    """Instead of Django's TRUNCATE of every table, which takes a quarter of a second, most of it for empty ones.

    A browser that is closed sends what was typed last, and that request may want the tables in another order. Of two
    in a deadlock PostgreSQL ends either: what was left behind would be found by the next test.
    """
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor)) - set(KEPT)
    statement = EMPTY.format(names=", ".join(f"'{table}'" for table in sorted(tables)))
    for tries_left in (2, 1, 0):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
            return
        except OperationalError:
            if not tries_left:
                raise


if __name__ == "__main__":
    gc.disable()  # a quarter of the time would go into looking through models that are never looked at again
    migrate()
