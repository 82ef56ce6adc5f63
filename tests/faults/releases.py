"""Two releases of the portal on one database: their code in folders, and their processes beside each other.

The next release is made from the present code: one more migration, and a model with a column more. So the test of an
upgrade needs no history. With git and PREVIOUS_RELEASE at hand, the step from that release is tried, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg2
import redis
from django.conf import settings
from django.db import connection, models

from config.celery import QUEUES
from config.devstack.postgres_and_valkey import PostgresServer, read_postgres_version
from config.devstack.processes import kill_process_group, spawn_process
from config.devstack.supervisor import beat_command, web_command, worker_command
from config.devstack.web_probe import is_web_live
from tests import databases
from tests.faults.receiver import HostileReceiver
from tests.faults.stack import Stack
from tests.processes import TEST_RUN_VARIABLES, eventually, free_port

START_SECONDS = 60  # of a web server on a busy machine
OLDEST_POSTGRES = 15  # docs/operations.md
PREVIOUS_RELEASE = "b49092f3"  # the last commit before migration bridge.0014
COPIED = ("bridge", "channels_setup", "config", "templates_registry", "static", "tests")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "test_*", "payloads", "browser", "load", "fuzzing")
MODEL_LINE = "    reactions = "  # of Message; the next release has a column before it
NEXT_COLUMN = '    next_note = models.TextField(blank=True, default="", db_default="")\n'
MIGRATION = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("bridge", "{last}")]
    operations = [
        {operations}
    ]
"""
COMPATIBLE = '''migrations.AddField("message", "next_note", models.TextField(blank=True, default="", db_default="")),
        migrations.RunSQL("""
            ALTER TABLE bridge_delivery ADD COLUMN next_note text NOT NULL DEFAULT '';
            ALTER TABLE bridge_attempt ADD COLUMN next_note text NOT NULL DEFAULT '';
            """, migrations.RunSQL.noop),
        migrations.RunSQL("ALTER TABLE bridge_webhookevent ADD COLUMN next_note text NOT NULL DEFAULT ''", ""),
        migrations.RunSQL("ALTER TABLE bridge_message ADD CONSTRAINT next_c CHECK (next_note <> 'x') NOT VALID", ""),
        migrations.RunSQL("ALTER TABLE bridge_message VALIDATE CONSTRAINT next_c", ""),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY next_index ON bridge_message (next_note, id)", ""),
        migrations.RunSQL("CREATE TABLE bridge_next (id bigserial PRIMARY KEY, words text NOT NULL)", ""),'''
# As a release that ignores the policy: the release before cannot store messages any more.
INCOMPATIBLE = """migrations.AddField("message", "next_note", models.TextField(blank=True, default="", db_default="")),
        migrations.RunSQL("ALTER TABLE bridge_message ALTER COLUMN next_note DROP DEFAULT", ""),"""
# How long the longest of those has waited that wait for `migrate`, which holds an advisory lock. Autovacuum may wait.
WAITS_SQL = """
SELECT max(extract(epoch FROM clock_timestamp() - w.waitstart))
FROM pg_locks m, pg_locks w JOIN pg_stat_activity a USING (pid)
WHERE m.locktype = 'advisory' AND m.classid = 7208 AND m.granted AND NOT w.granted AND w.pid <> m.pid
    AND a.backend_type = 'client backend' AND m.pid = ANY(pg_blocking_pids(w.pid))
"""


def make_next_release(folder: Path, operations: str) -> Path:
    """Copy the present code into the folder, with one more migration and a model that has the new column."""
    tree = folder / "next"
    for name in COPIED:
        shutil.copytree(settings.BASE_DIR / name, tree / name, ignore=NOT_COPIED)
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(settings.BASE_DIR / name, tree)
    last = sorted((tree / "bridge" / "migrations").glob("0*.py"))[-1].stem
    text = MIGRATION.format(last=last, operations=operations)
    (tree / "bridge" / "migrations" / "9999_next_release.py").write_text(text)
    model = tree / "bridge" / "models" / "messages.py"
    before, line, after = model.read_text().partition(MODEL_LINE)
    assert line, "The model Message has changed: choose another line."
    model.write_text(before + NEXT_COLUMN + line + after)
    return tree


def unpack_previous_release(folder: Path) -> Path | None:
    """Unpack the release before from git. None without git or its history, as in a shallow clone."""
    tree = folder / "previous"
    tree.mkdir()
    archive = folder / "previous.tar"
    command = ["git", "archive", "--output", str(archive), PREVIOUS_RELEASE]
    try:
        subprocess.run(command, cwd=settings.BASE_DIR, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    shutil.unpack_archive(archive, tree, filter="data")
    return tree


def find_oldest_postgres() -> Path | None:
    """Return the binaries of the oldest supported PostgreSQL on this machine."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    supported = [path for path in found if int(path.parent.name) >= OLDEST_POSTGRES]
    return min(supported, key=lambda path: int(path.parent.name), default=None)


@contextmanager
def run_postgres(binaries: Path) -> Iterator[str]:
    """Run a PostgreSQL of this version for the block. Yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="okno-postgres-"))
    server = PostgresServer(folder=folder, password="word")
    server.binaries, server.version = binaries, read_postgres_version(binaries)
    server.data = folder / f"data-{server.version}"
    server.prepare()
    port = free_port()
    with open(folder / "server.log", "wb") as log:
        process = spawn_process(
            server.command(port),
            on_parent_death=signal.SIGINT,
            before_exec=server.drop_privileges,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        eventually(lambda: server.is_ready(port) or process.poll() is not None, seconds=30)
        yield f"postgres://{server.user}:{server.password}@127.0.0.1:{port}/{server.database}"
    finally:
        process.send_signal(server.stop_signal)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


class Processes:
    """Web, worker and beat of one release."""

    def __init__(self, tree: Path, environment: dict[str, str], logs: Path) -> None:
        self.tree, self.environment, self.logs = tree, environment, logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self.logs / f"{self.tree.name}-{name}.log", "ab") as log:
            self.running[name] = spawn_process(
                [sys.executable, *command[1:]],
                on_parent_death=signal.SIGKILL,
                cwd=self.tree,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.running[name]

    def start_web(self, name: str) -> int:
        """Start a web server. Return its port when it answers."""
        port = free_port()
        process = self.start(name, web_command(host="127.0.0.1", port=port, processes=1))
        deadline = time.monotonic() + START_SECONDS
        while not is_web_live(port):
            assert process.poll() is None and time.monotonic() < deadline, self.log(name)[-3000:]
            time.sleep(0.05)
        return port

    def start_worker(self) -> None:
        self.start("worker", worker_command(queues=QUEUES, concurrency=4, name=self.tree.name))

    def start_beat(self) -> None:
        self.start("beat", beat_command())

    def stop(self, name: str) -> None:
        """Stop as a deployment does: SIGTERM, and wait until it has ended."""
        process = self.running.pop(name)
        process.terminate()
        process.wait(60)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self.tree,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def kill(self) -> None:
        for process in self.running.values():
            kill_process_group(process)
            process.wait()

    def log(self, name: str) -> str:
        return (self.logs / f"{self.tree.name}-{name}.log").read_text(errors="replace")


class Site(Stack):
    """A database with processes of several releases, behind a round-robin proxy (``port``)."""

    def __init__(self, *, is_migrated: bool, server_url: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="okno-upgrade-"))
        (self.folder / "logs").mkdir()
        (self.folder / "up.log").touch()
        self.name = f"upgrade_{os.getpid()}_{time.monotonic_ns()}"
        self.server_url = server_url or os.environ["DATABASE_URL"]
        self.url = f"{self.server_url.rpartition('/')[0]}/{self.name}"
        if is_migrated:
            databases.create_migrated_database(self.name)
        else:
            databases.execute_statements(self.server_url, f"CREATE DATABASE {self.name}")
        self.receiver = HostileReceiver(self.folder / "received.jsonl")
        broker = f"{settings.REDIS_URL.rpartition('/')[0]}/{int(settings.REDIS_URL.rpartition('/')[2] or 0) + 10}"
        self.valkey = redis.Redis.from_url(broker)
        self.valkey.flushdb()
        kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}
        self.environment = kept | {
            "DATA_DIR": str(self.folder),
            "DEMO": "0",
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "SECRET_KEY": os.environ["SECRET_KEY"],
            "FIELD_KEYS": os.environ["FIELD_KEYS"],
            "DATABASE_URL": self.url,
            "REDIS_URL": broker,
            "RELAY_ALLOWED_PRIVATE_CIDRS": "127.0.0.0/8",  # the receiver, as `make up` allows it
        }
        self.ports: list[int] = []
        self.turn = self.shops = 0
        self.lock = threading.Lock()
        self.releases: list[Processes] = []

    @property
    def port(self) -> int:  # type: ignore[override]  # of one web process for each request, in turn
        with self.lock:
            self.turn += 1
            return self.ports[self.turn % len(self.ports)]

    def release(self, tree: Path) -> Processes:
        processes = Processes(tree, self.environment, self.folder / "logs")
        self.releases.append(processes)
        return processes

    def add_operator(self) -> None:
        self.operator = self.one(
            "INSERT INTO accounts_user (password, is_superuser, username, first_name, last_name, email, is_staff,"
            " is_active, date_joined) VALUES ('!', TRUE, 'boris', '', '', '', FALSE, TRUE, now()) RETURNING id"
        )

    def rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        line = psycopg2.connect(self.url, connect_timeout=5)
        try:
            with line, line.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            line.close()

    def insert(self, row: models.Model) -> int:
        """Insert the row into a schema that may lack the newest columns of its model."""
        table = row._meta.db_table
        found = self.rows("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
        columns = {name for (name,) in found}
        fields = [each for each in row._meta.concrete_fields if not each.primary_key and each.column in columns]
        values = [each.get_db_prep_save(each.pre_save(row, add=True), connection) for each in fields]
        names, marks = ", ".join(each.column for each in fields), ", ".join(["%s"] * len(fields))
        return int(self.one(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", values))

    @contextmanager
    def measure_lock_waits(self) -> Iterator[list[float]]:
        """Measure how long others wait for locks of `migrate`, 50 times a second."""
        waits, is_done = [0.0], threading.Event()

        def watch() -> None:
            line = psycopg2.connect(self.url)
            line.autocommit = True
            with line.cursor() as cursor:
                while not is_done.wait(0.02):
                    cursor.execute(WAITS_SQL)
                    waits.append(float(cursor.fetchone()[0] or 0))
            line.close()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        yield waits
        is_done.set()
        thread.join()

    def get_health(self, port: int) -> dict[str, Any]:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=20) as response:
                found: dict[str, Any] = json.load(response)
        except HTTPError as response:
            found = json.load(response)
        return found

    def close(self) -> None:
        for processes in self.releases:
            processes.kill()
        self.receiver.close()
        self.valkey.flushdb()
        self.valkey.close()
        databases.execute_statements(self.server_url, f"DROP DATABASE {self.name} WITH (FORCE)")
        shutil.rmtree(self.folder, ignore_errors=True)
