"""`manage.py migrate` during traffic: its locks block others only briefly, and it reports what it waits for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection, migrations
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from bridge.models import WebhookEvent
from bridge.raw_requests import mark_event_failed
from config.management import migration_executor
from config.management.commands import migrate
from config.management.migration_executor import PatientExecutor, describe_progress
from tests.databases import connect_as_other_client
from tests.factories import ApiChannelFactory

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "9998_test"


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Another session that reads a table in a transaction."""
    monkeypatch.setattr(migration_executor, "PAUSES", (0.0,))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE read_table (id int)")
    reader = connect_as_other_client()
    reader.cursor().execute("SELECT * FROM read_table")
    yield reader
    reader.close()
    MigrationRecorder(connection).record_unapplied("bridge", NAME)
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout; DROP TABLE read_table")  # it may wait until the other session ends


def apply(*statements: str, is_atomic: bool, report: Any) -> None:
    class Migration(migrations.Migration):
        atomic = is_atomic
        operations = [migrations.RunSQL(statement, migrations.RunSQL.noop) for statement in statements]

    PatientExecutor(connection, report=report).apply_migration(ProjectState(), Migration(NAME, "bridge"))


def list_columns() -> set[str]:
    with connection.cursor() as cursor:
        return {column.name for column in connection.introspection.get_table_description(cursor, "read_table")}


@pytest.mark.parametrize("is_atomic", [True, False])
def test_a_migration_gives_way_and_tries_again(reader: Any, is_atomic: bool) -> None:
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        reader.rollback()  # the reader ends while the migration pauses

    apply("ALTER TABLE read_table ADD COLUMN first int", "SELECT 1", is_atomic=is_atomic, report=report)

    assert list_columns() == {"id", "first"}
    assert [line.strip().partition(".")[0] for line in lines] == ["A table is in use; trying again in 0 s"]
    assert ("bridge", NAME) in MigrationRecorder(connection).applied_migrations()


def test_it_gives_up_after_its_time_and_leaves_nothing_half_done(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_executor, "GIVE_UP_SECONDS", 0)

    with pytest.raises(OperationalError, match="lock timeout"):
        apply("CREATE TABLE half_done ()", "ALTER TABLE read_table ADD COLUMN first int", is_atomic=True, report=print)

    assert "half_done" not in connection.introspection.table_names()
    assert ("bridge", NAME) not in MigrationRecorder(connection).applied_migrations()


def test_an_index_that_an_interruption_left_incomplete_is_built_again(reader: Any) -> None:
    reader.rollback()
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX read_index ON read_table (id)")
        cursor.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'read_index'::regclass")
    lines: list[str] = []

    apply('CREATE INDEX CONCURRENTLY "read_index" ON read_table (id)', is_atomic=False, report=lines.append)

    assert lines == ["  Index read_index is incomplete after an interruption; building it again."]
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'read_index'::regclass")
        assert cursor.fetchone() == (True,)


def test_an_interrupted_migration_goes_on_where_it_ended(reader: Any) -> None:
    reader.rollback()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE read_table ADD COLUMN old int, ADD CONSTRAINT old_check CHECK (id > 0)")
    statements = (
        "ALTER TABLE read_table ADD COLUMN first int",
        "CREATE TABLE next_table ()",
        "CREATE INDEX CONCURRENTLY kept_index ON read_table (first)",
        "CREATE INDEX CONCURRENTLY read_index ON read_table (first)",
        "ALTER TABLE read_table ADD CONSTRAINT next_check CHECK (id > 0) NOT VALID",
        "ALTER TABLE read_table DROP CONSTRAINT old_check",
        "DROP INDEX CONCURRENTLY read_index",
        "ALTER TABLE read_table DROP COLUMN old",
    )
    with pytest.raises(ProgrammingError, match="no_such_table"):
        apply(*statements, "INSERT INTO no_such_table VALUES (1)", is_atomic=False, report=print)
    lines: list[str] = []

    apply(*statements, "DROP TABLE next_table", is_atomic=False, report=lines.append)

    assert list_columns() == {"id", "first"}
    assert [line.strip().partition(":")[0] for line in lines] == ["Done before an interruption"] * 6


def test_a_migration_that_contradicts_the_database_fails(reader: Any) -> None:
    reader.rollback()
    for statement in (
        "ALTER TABLE read_table ADD COLUMN first no_such_type",
        "ALTER TABLE no_such_table ADD COLUMN first int",
    ):
        with pytest.raises(ProgrammingError):
            apply(statement, is_atomic=False, report=print)
    with pytest.raises(ProgrammingError, match="already exists"):
        apply("ALTER TABLE read_table ADD COLUMN id int", is_atomic=True, report=print)


def test_a_long_statement_is_described_with_what_it_waits_for(reader: Any) -> None:
    pid = reader.get_backend_pid()

    assert "s: SELECT * FROM read_table" in describe_progress(connection, pid)


def test_a_second_migrate_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    other, stdout = connect_as_other_client(), io.StringIO()
    other.cursor().execute("SELECT pg_advisory_lock(7208, 0)")
    monkeypatch.setattr(migrate.time, "sleep", lambda _seconds: other.close())

    call_command("migrate", "bridge", verbosity=0, stdout=stdout)

    assert stdout.getvalue() == "Another manage.py migrate is running on this database; waiting until it ends.\n"


def test_events_that_failed_because_of_the_schema_are_processed_again() -> None:
    event = WebhookEvent.objects.create(api_channel=ApiChannelFactory(), endpoint="webhook", body=b"{}")
    mark_event_failed(event, "ProgrammingError: 42703")
    stdout = io.StringIO()

    call_command("migrate", verbosity=0, stdout=stdout)

    assert stdout.getvalue() == "Events that failed because of the schema and are processed again: 1.\n"
    event.refresh_from_db()
    assert event.state == "new"


@pytest.mark.parametrize(("verbosity", "printed"), [(0, ""), (1, "\n  … 10 s: CREATE INDEX")])
def test_only_a_quiet_migrate_is_silent_about_its_progress(verbosity: int, printed: str) -> None:
    """`make up` is quiet: its only line says that it is ready."""
    command = migrate.Command(stdout=io.StringIO())
    command.verbosity = verbosity

    command.report("  … 10 s: CREATE INDEX")

    assert command.stdout.getvalue() == printed  # type: ignore[attr-defined]
