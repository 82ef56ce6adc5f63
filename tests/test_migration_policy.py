"""The migration linter enforces the policy in CONTRIBUTING.md. `make check` lints the real migrations."""

import re

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyse_sql_statements


@pytest.mark.parametrize(
    "statement",
    [
        'ALTER TABLE "bridge_message" ADD COLUMN "kind" text NOT NULL',
        'ALTER TABLE "bridge_message" RENAME COLUMN "text" TO "body"',
        'ALTER TABLE "bridge_message" DROP COLUMN "text"',
        'CREATE INDEX "message_kind" ON "bridge_message" ("kind")',
    ],
)
def test_the_linter_finds_changes_that_interrupt_traffic(statement: str) -> None:
    errors, _ignored, warnings = analyse_sql_statements(PostgresqlAnalyser, [statement])

    assert errors or warnings


@pytest.mark.parametrize(
    "statement",
    [
        'ALTER TABLE "bridge_message" ADD COLUMN "kind" text DEFAULT \'\' NOT NULL',
        'CREATE INDEX CONCURRENTLY "message_kind" ON "bridge_message" ("kind")',
    ],
)
def test_the_linter_accepts_changes_that_are_safe_under_traffic(statement: str) -> None:
    errors, _ignored, warnings = analyse_sql_statements(PostgresqlAnalyser, [statement])

    assert not errors and not warnings


@pytest.mark.django_db
def test_an_atomic_migration_locks_one_of_the_busy_tables() -> None:
    """The release before works during the migration, and locks the tables in another order."""
    loader = MigrationLoader(connection)
    busy = {}
    for (app, name), migration in loader.graph.nodes.items():
        if app == "bridge" and name > "0002" and migration is not None and migration.atomic:
            statements = loader.collect_sql([(migration, False)])
            busy[name] = set(re.findall(r'^ *ALTER TABLE "?(\w+)', "\n".join(statements), re.M))

    assert {name: tables for name, tables in busy.items() if len(tables) > 1} == {}
