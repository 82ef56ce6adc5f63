"""Test databases: one migrated template per run, a copy per process, and deletion of committed rows.

Migrating takes as long as a hundred tests. A child process migrates the template during collection, and every pytest
process copies it (TEST["TEMPLATE"] in tests.settings). A dump of it is kept in .cache for the next run with the same
migrations, except in CI, which always migrates.
"""

import gc
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import django
import psycopg2
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.migrations.loader import MigrationLoader

from config.backup.postgres_programs import choose_programs
from config.devstack.processes import file_lock, spawn_process

ROOT = Path(__file__).resolve().parent.parent
DUMPS = ROOT / ".cache" / "migrated-databases"
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
    options = connection.get_connection_params()
    return psycopg2.connect(**{name: options[name] for name in ("dbname", "user", "password", "host", "port")})


@contextmanager
def lock_held_elsewhere(space: int, number: int) -> Iterator[None]:
    """Hold an advisory lock in another session during the block.

    The session unlocks before it closes: the server releases the locks of a closed session with a delay.
    """
    with closing(connect_as_other_client()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [space, number])
        yield
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [space, number])


def migrate() -> None:
    folder, url = Path(os.environ["DATA_DIR"]), os.environ["DATABASE_URL"]
    with file_lock(folder / "migrating"):
        if (folder / TEMPLATE).exists():
            return
        execute_statements(url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
        os.environ["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{TEMPLATE}"
        django.setup()
        is_kept = os.environ.get("CI", "").lower() in ("1", "true", "yes") or load_dump(url)
        call_command("migrate", verbosity=0)  # after a loaded dump: only what follows the migrations
        if not is_kept:
            save_dump()
        connection.close()  # PostgreSQL copies only databases without connections
        (folder / TEMPLATE).touch()


def load_dump(url: str) -> bool:
    """Load the dump of the same migrations, if there is one. A dump that cannot be loaded is ignored."""
    if not dump_path().exists():
        return False
    is_loaded = load_tables(os.environ["DATABASE_URL"])
    if not is_loaded:
        connection.close()
        dump_path().unlink(missing_ok=True)
        execute_statements(url, f"DROP DATABASE {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
    return is_loaded


def load_tables(url: str) -> bool:
    """Load the dump into an empty database, so that `migrate` has little left to do. Return whether that was possible.

    Migrating takes 40 seconds of processor time, and loading the dump takes 3.
    """
    load = ("psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={dump_path()}")
    return dump_path().exists() and run_program(*load, url=url).returncode == 0


def save_dump() -> None:
    """Keep a dump of the template instead of those of earlier migrations."""
    DUMPS.mkdir(parents=True, exist_ok=True)
    unfinished = DUMPS / f"{os.getpid()}.unfinished"
    dumped = run_program("pg_dump", "--no-owner", f"--file={unfinished}", url=os.environ["DATABASE_URL"])
    if dumped.returncode == 0:
        for earlier in DUMPS.glob("*.sql"):
            earlier.unlink(missing_ok=True)
        unfinished.replace(dump_path())
    unfinished.unlink(missing_ok=True)


def dump_path() -> Path:
    """Return where a dump is kept: the name depends on all migrations, the packages and the server."""
    found = hashlib.sha256(str(server_version()).encode())
    modules = {migration.__module__ for migration in MigrationLoader(connection).disk_migrations.values()}
    files = sorted(str(sys.modules[name].__file__) for name in modules)
    for path in (str(ROOT / "requirements.txt"), *files):
        found.update(Path(path).read_bytes())
    return DUMPS / f"{found.hexdigest()[:32]}.sql"


def server_version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int / 10000")
        return int(cursor.fetchone()[0])


def run_program(program: str, *arguments: str, url: str) -> "subprocess.CompletedProcess[bytes]":
    command = choose_programs(at_least=server_version()).command(program, f"--dbname={url}", *arguments)
    return subprocess.run(command, check=False, capture_output=True)


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
