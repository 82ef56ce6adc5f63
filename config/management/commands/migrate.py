"""Django's migrate command, during traffic.

It rejects databases with migrations from before the first release, waits for another `migrate`, blocks other sessions
only briefly (`config.management.migration_executor`), and requeues the events that failed because of the schema.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader

from bridge.inbox import schema_failures
from channels_setup.advisory_locks import LockSpace, release, try_acquire
from channels_setup.database_schema import watch
from config.management.migration_executor import PatientExecutor
from config.monitoring import server_versions

# Migrations were squashed into one per app before the first release. A database with this old migration cannot be
# upgraded, because its user table is a different one.
OUR_APPS = {"accounts", "bridge", "channels_setup", "templates_registry"}
OBSOLETE = ("bridge", "0002_draft_details_heldreply")
REFUSAL = (
    "This database was created by an unreleased version of Okno and cannot be upgraded. "
    "The old code can export only the templates, with `manage.py templates export`. Add channels and users again with "
    "`manage.py channel add` and `manage.py user add`. "
    "Then start with an empty database (with `make up`: another or an empty DATA_DIR)."
)


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        database = options["database"]
        try:
            with connections[database].cursor():
                server_versions.check_postgres(connections[database])
        except server_versions.ServerTooOld as problem:
            raise CommandError(str(problem)) from None
        if has_obsolete_migrations(database) or find_missing_columns(database):
            raise CommandError(REFUSAL)
        if options["plan"] or options["check_unapplied"]:  # changes nothing
            super().handle(*args, **options)
            return
        with self.hold_migrate_lock(), self.use_patient_executor():
            super().handle(*args, **options)
        if not options["app_label"] and (count := schema_failures.reprocess_schema_failures()):
            self.stdout.write(f"Events that failed because of the schema and are processed again: {count}.")

    @contextmanager
    def hold_migrate_lock(self) -> Iterator[None]:
        """Let one `migrate` run at a time. Other processes of the portal see the lock."""
        if not try_acquire(LockSpace.MIGRATE, 0):
            self.stdout.write("Another manage.py migrate is running on this database; waiting until it ends.")
            self.stdout.flush()
            while not try_acquire(LockSpace.MIGRATE, 0):
                time.sleep(0.5)
        watch.is_migrating_itself = True
        try:
            yield
        finally:
            watch.is_migrating_itself = False
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            release(LockSpace.MIGRATE, 0)

    @contextmanager
    def use_patient_executor(self) -> Iterator[None]:
        """Replace the executor that Django's command creates: it has no setting for it."""
        before = migrate.MigrationExecutor  # type: ignore[attr-defined]  # imported there
        migrate.MigrationExecutor = partial(PatientExecutor, report=self.report)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            migrate.MigrationExecutor = before  # type: ignore[attr-defined]

    def report(self, line: str) -> None:
        """Write a line below that of the migration, which has no end yet. Its "OK" follows the last one."""
        if self.verbosity == 0:  # `make up` prints one line, also where its first migration takes long
            return
        self.stdout.write(f"\n{line}", ending="")
        self.stdout.flush()


def has_obsolete_migrations(database: str) -> bool:
    """Return whether the database has a migration from before the first release."""
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM django_migrations WHERE (app, name) = (%s, %s)", OBSOLETE)
        return bool(cursor.fetchone()[0])


def find_missing_columns(database: str) -> list[str]:
    """Return columns ("table.column") that applied migrations of the portal should have made, and that are not there.

    The initial migrations were edited until the first release, so a database of that time has them applied in an
    older form. Without this check the first query would fail with a traceback.
    """
    connection = connections[database]
    loader = MigrationLoader(connection)
    applied = [node for node in loader.applied_migrations or () if node in loader.graph.nodes]
    if not applied:
        return []
    expected = {
        f"{model._meta.db_table}.{field.column}"
        for model in loader.project_state(applied).apps.get_models(include_auto_created=True)
        if model._meta.app_label in OUR_APPS and model._meta.managed and not model._meta.proxy
        for field in model._meta.local_concrete_fields
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = ANY(current_schemas(false))"
        )
        return sorted(expected - {column for (column,) in cursor.fetchall()})
