"""Installation of the audit triggers. Changes only those whose definition differs, so it can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from django.db import connections, transaction

from .tables import AUDITED, ResolvedTable, resolve_table

LOCK_SECONDS = 5  # waiting for a table's lock blocks its other writers
INSTALLED = """
SELECT c.relname, t.tgname, obj_description(t.oid, 'pg_trigger') FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgname LIKE 'audit\\_%%' AND t.tgname <> ALL (%s) AND NOT t.tgisinternal
  AND c.relnamespace = current_schema()::regnamespace
"""
OWN_TRIGGERS = ["audit_fill", "audit_append_only", "audit_no_truncate"]  # of the record's own table


def build_triggers(resolved: ResolvedTable) -> Iterator[tuple[str, str]]:
    """Yield name and definition of each trigger of a table, without CREATE TRIGGER and the name."""
    rule = resolved.rule
    argument = json.dumps(resolved.as_json(), sort_keys=True).replace("'", "''")
    call = f"EXECUTE FUNCTION audit_row('{argument}')"
    table = f'"{resolved.table}"'
    if other := " OR ".join(event for event in rule.events if event != "UPDATE"):
        yield "audit_write", f"AFTER {other} ON {table} FOR EACH ROW {call}"
    if "DELETE" in rule.events:
        yield "audit_truncate", f"AFTER TRUNCATE ON {table} FOR EACH STATEMENT {call}"
    if "UPDATE" in rule.events:
        condition = f"WHEN ({condition}) " if (condition := build_condition(resolved)) else ""
        yield "audit_update", f"AFTER UPDATE ON {table} FOR EACH ROW {condition}{call}"


def build_condition(resolved: ResolvedTable) -> str:
    """Return the condition on which the UPDATE trigger runs; "": always. It costs the message flow next to nothing."""
    rule = resolved.rule
    watched = [column for column in rule.columns if column in resolved.columns] if rule.people_only else []
    changed = " OR ".join(f'OLD."{column}" IS DISTINCT FROM NEW."{column}"' for column in watched)
    return " AND ".join(f"({part})" for part in (rule.when, changed) if part)


def install_triggers(*, using: str = "default") -> None:
    """Create missing and changed triggers, and drop those of tables that are not audited any more."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        cursor.execute(INSTALLED, [OWN_TRIGGERS])
        installed = {(table, name): mark for table, name, mark in cursor.fetchall()}
    if "audit_record" not in tables:
        return
    wanted = {
        (resolved.table, name): definition
        for resolved in map(resolve_table, AUDITED)
        if resolved.table in tables
        for name, definition in build_triggers(resolved)
    }
    for (table, name), definition in wanted.items():
        mark = hashlib.sha256(definition.encode()).hexdigest()[:16]
        if installed.get((table, name)) != mark:
            _execute(
                using,
                f"CREATE OR REPLACE TRIGGER {name} {definition}",
                f"COMMENT ON TRIGGER {name} ON \"{table}\" IS '{mark}'",
            )
    for table, name in installed.keys() - wanted.keys():
        _execute(using, f'DROP TRIGGER {name} ON "{table}"')


def _execute(using: str, *statements: str) -> None:
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        for statement in statements:
            cursor.execute(statement)
