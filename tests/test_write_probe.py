"""/health/ready fails while the database would refuse messages, gives the reason, and recovers by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from bridge.maintenance import housekeeping, write_probe
from bridge.models import WriteProbe

pytestmark = pytest.mark.django_db

TABLE = WriteProbe._meta.db_table


def sql(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


@pytest.fixture(autouse=True)
def probe_again() -> Iterator[None]:
    write_probe.reset_write_check()
    for part in ("beat", "inbound", "outbound", "events"):
        housekeeping.record_heartbeat(part)
    yield
    write_probe.reset_write_check()


def parts(client: Any) -> tuple[int, dict[str, str]]:
    """Return the status of /health/ready and the errors by component."""
    write_probe.reset_write_check()
    answer = client.get("/health/ready")
    red = {name: part.get("error", "") for name, part in answer.json()["components"].items() if part["state"] == "red"}
    return answer.status_code, red


REFUSALS = {
    "read-only transaction": ("SET TRANSACTION READ ONLY", "ReadOnlySqlTransaction"),
    "read-only database": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());"
        " END $$",
        "read-only for new connections",
    ),
    "read-only user": (
        "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on",
        "read-only for new connections",
    ),
    "events' table missing": (
        "ALTER TABLE bridge_webhookevent RENAME TO gone",
        "missing, or no right to insert: bridge_webhookevent",
    ),
    "messages' table missing": (
        "ALTER TABLE bridge_message RENAME TO gone",
        "missing, or no right to insert: bridge_message",
    ),
    "deliveries' table missing": (
        "ALTER TABLE bridge_delivery RENAME TO gone",
        "missing, or no right to insert: bridge_delivery",
    ),
    "heartbeats' table missing": (
        "ALTER TABLE bridge_heartbeat RENAME TO gone",
        "missing, or no right to insert: bridge_heartbeat",
    ),
    "the probe's own table missing": (
        f"ALTER TABLE {TABLE} RENAME TO gone",
        f"missing, or no right to insert: {TABLE}",
    ),
    "no right to insert": (
        "CREATE ROLE okno_reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO okno_reader;"
        " GRANT INSERT ON ALL TABLES IN SCHEMA public TO okno_reader;"
        " REVOKE INSERT ON bridge_webhookevent FROM okno_reader; SET LOCAL ROLE okno_reader",
        "missing, or no right to insert: bridge_webhookevent",
    ),
    "full disk": (
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$;"
        f" CREATE TRIGGER no_room BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no_room()",
        "DiskFull",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_database_that_refuses_messages_fails_the_check(client: Any, refusal: str) -> None:
    assert parts(client) == (200, {})
    statement, error = REFUSALS[refusal]

    with transaction.atomic():
        sql(statement)
        status, red = parts(client)
        transaction.set_rollback(True)

    assert status == 503 and red["writes"] == error
    assert parts(client) == (200, {})


def test_the_probe_runs_only_every_few_seconds(
    django_assert_num_queries: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(write_probe.time, "monotonic", lambda: clock[0])
    write_probe.check_writable()
    with django_assert_num_queries(0):
        write_probe.check_writable()
    clock[0] += write_probe.PROBE_INTERVAL
    write_probe.check_writable()

    assert WriteProbe.objects.count() == 2


def test_each_probe_needs_its_own_space() -> None:
    sizes = []
    for _ in range(3):
        write_probe.reset_write_check()
        write_probe.check_writable()
        sizes.append(sql(f"SELECT pg_relation_size('{TABLE}')")[0])

    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == 8192


def test_the_probes_table_is_emptied_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_probe, "MAX_TABLE_BYTES", 2 * 8192)
    for _ in range(10):
        write_probe.reset_write_check()
        write_probe.check_writable()

    assert WriteProbe.objects.count() <= 3


def test_the_probe_does_not_wait_for_a_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_probe, "MAX_TABLE_BYTES", -1)
    backup = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    try:
        with backup.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS SHARE MODE")
        write_probe.check_writable()
    finally:
        backup.close()

    assert WriteProbe.objects.count() == 1
