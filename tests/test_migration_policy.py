"""The migration linter enforces the policy in CONTRIBUTING.md. `make check` lints the real migrations."""

import pytest
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
