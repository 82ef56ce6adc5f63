"""SQL that adapts a restored database before its transaction commits.

Between the backup and the restore the portal went on: it sent what was waiting, gave away links, and used numbers. A
restored portal must not do these things twice.
"""

from __future__ import annotations

from config.audit.context import SET_CONTEXT, current_description, serialize

from .database_load import ROWS_OF_A_NEW_DATABASE
from .manifest import Manifest

# A portal may have started after the checks. With the locks, what is found empty stays empty until it is replaced.
LOCK_AND_CHECK = """
DO $$
DECLARE name text; has_rows boolean;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY 1
    LOOP
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
        IF name <> ALL ('{{allowed}}'::text[]) THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
            IF has_rows THEN RAISE EXCEPTION 'table % has got rows since the checks: stop the portal', name; END IF;
        END IF;
    END LOOP;
END $$;
"""
# Everything of the portal's schema, of a new installation: nothing else is ever replaced.
DROP_EVERYTHING = """
DO $$
DECLARE statement text;
BEGIN
    FOR statement IN
        SELECT format('DROP TABLE IF EXISTS %s CASCADE', c.oid::regclass) FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP EXECUTE statement; END LOOP;
END $$;
"""
CHECK_COUNT = """
DO $$ BEGIN
    IF (SELECT count(*) FROM "{table}") <> {count} THEN
        RAISE EXCEPTION 'table {table} does not have the {count} rows of the backup';
    END IF;
END $$;
"""
# Everybody signs in again, and unused one-time links end: users may have been deactivated since the backup.
END_SESSIONS = """
DELETE FROM django_session;
DELETE FROM usersessions_usersession;
DELETE FROM accounts_sharedcacheentry;
UPDATE accounts_user SET session_epoch = session_epoch + 1;
"""
# The delivery engine treats these as attempts that were interrupted: it repeats events, which receivers recognize by
# their key, looks for messages at the helpdesk first, and shows messages to clients as "may have been sent".
SETTLE_DELIVERIES = """
UPDATE bridge_delivery SET state = 'sending', lease_token = gen_random_uuid(), next_attempt_at = now(),
    attempts_before = attempts
WHERE state IN ('pending', 'sending');
"""
# A bulk resend that went on after the backup must not run again. Held replies end with a notice, as drafts.
STOP_REPEATS = """
UPDATE bridge_bulkaction SET finished_at = now() WHERE finished_at IS NULL;
UPDATE bridge_heldreply SET drop_at = now() WHERE state = 'held';
"""
# Numbers used after the backup are known outside: in links to files, at receivers, in the erasure log. They must not
# name something else. The gap is as large as everything before, and leaves at least half of the numbers that are left.
SKIP_NUMBERS = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,
              last_value + least(last_value + 10000, (max_value - last_value) / 2))
FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL AND increment_by = 1;
"""


def build_preparation() -> str:
    """Return the SQL that begins the transaction and removes the tables of a new installation."""
    check = LOCK_AND_CHECK.replace("{allowed}", ",".join(sorted(ROWS_OF_A_NEW_DATABASE)))
    return f"BEGIN;\n{check}{DROP_EVERYTHING}"


def build_adaptation(manifest: Manifest, *, portal_was_stopped: bool) -> str:
    """Return the SQL that checks the row counts and adapts the restored rows."""
    counts = [CHECK_COUNT.format(table=table, count=count) for table, count in manifest.tables.items()]
    context = serialize(current_description() or {"source": "command", "route": "manage.py restore"})
    parts = ["RESET search_path;", *counts, SET_CONTEXT.replace("%s", _quote(context)), END_SESSIONS]
    if not portal_was_stopped:
        parts += [SETTLE_DELIVERIES, STOP_REPEATS, SKIP_NUMBERS]
    return "\n".join(parts)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
