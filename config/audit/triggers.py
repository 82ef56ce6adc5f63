"""Installation of the audit triggers. Changes only those whose definition differs, so it can be repeated."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import replace

from django.db import OperationalError, connections, transaction

from .tables import AUDITED, ResolvedTable, resolve_table

LOCK_SECONDS = 0.5  # waiting for a table's lock blocks its other writers
MAX_TRIES = 100
INSTALLED = """
SELECT c.relname, t.tgname, CASE WHEN t.tgenabled <> 'D' THEN obj_description(t.oid, 'pg_trigger') END
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgname LIKE 'audit\\_%%' AND t.tgname <> ALL (%s) AND NOT t.tgisinternal
  AND c.relnamespace = current_schema()::regnamespace
"""
COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()
"""
# Triggers of the record's own table, and how they are enabled. `pg_restore --disable-triggers` leaves all as "O".
OWN_MODES = {"audit_fill": "O", "audit_append_only": "A", "audit_no_truncate": "A"}
OWN_TRIGGERS = list(OWN_MODES)


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
        cursor.execute(COLUMNS)
        columns = set(cursor.fetchall())
        cursor.execute(INSTALLED, [OWN_TRIGGERS])
        installed = {(table, name): mark for table, name, mark in cursor.fetchall()}
    if ("audit_record", "id") not in columns:
        return
    wanted = {
        (resolved.table, name): definition
        for resolved in (keep_columns(resolve_table(name), columns) for name in AUDITED)
        if resolved.columns
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
    enable_own_triggers(using)


def enable_own_triggers(using: str) -> None:
    """Enable the triggers of the record again as the migration did, where somebody or a restore changed that."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'audit_record'::regclass")
        modes = dict(cursor.fetchall())
    for name, mode in OWN_MODES.items():
        if modes.get(name, mode) != mode:
            always = "ALWAYS " if mode == "A" else ""
            _execute(using, f"ALTER TABLE audit_record ENABLE {always}TRIGGER {name}")


def keep_columns(resolved: ResolvedTable, existing: Collection[tuple[str, str]]) -> ResolvedTable:
    """Leave out columns that later migrations add: `migrate` can stop at an older one."""
    return replace(resolved, columns=tuple(name for name in resolved.columns if (resolved.table, name) in existing))


def _execute(using: str, *statements: str) -> None:
    """Execute in one transaction. Tries again if another transaction holds the table for long."""
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            with transaction.atomic(using=using), connections[using].cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                for statement in statements:
                    cursor.execute(statement)
            return
        except OperationalError:
            if not tries_left:
                raise
            time.sleep(1)  # the writers that waited behind us go first
