"""Prepared statements of workers: same results, dropped plans, sessions that are lost, changed columns."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from celery.signals import worker_process_init
from django.db import DatabaseError, connection, transaction

from bridge.inbox import processing
from bridge.intake import group_commit
from bridge.models import Attempt, Delivery, Message
from bridge.outbox import dispatcher
from channels_setup import prepared_statements
from config import celery
from tests.factories import ApiChannelFactory
from tests.prepared import count_prepared, prepares_statements
from tests.receiver import Receiver
from tests.test_query_plans import build_events

SQL = "SELECT %(word)s::text, %(number)s + 1, cardinality(%(ids)s::bigint[]), %(number)s::numeric / 2, '100 %%'"
VALUES: dict[str, Any] = {"word": "it's", "number": 41, "ids": [None, None]}
ROW = ("it's", 42, 2, 20.5, "100 %")


@pytest.fixture(autouse=True)
def _prepared(db: None) -> Iterator[None]:
    with prepares_statements():
        yield


def run(sql: str = SQL) -> Any:
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, sql, VALUES)
        return cursor.fetchone()


def test_enabled_in_workers() -> None:
    """The signal is not sent: another receiver would end the waits of this process, and with them later tests."""
    assert celery.use_prepared_statements in [receiver() for _key, receiver in worker_process_init.receivers]
    # Not by monkeypatch, which may be undone after the fixture, and would leave them enabled for later tests.
    with patch.object(prepared_statements._State, "is_enabled", False):
        celery.use_prepared_statements()
        assert prepared_statements._State.is_enabled


def test_statement_prepared_once() -> None:
    assert [run(), run()] == [ROW, ROW]
    assert count_prepared() == 1


def test_plans_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    run(), run(f"{SQL}, 1")
    monkeypatch.setattr(prepared_statements._thread.session, "drop_at", 0.0)
    assert run() == ROW
    assert count_prepared() == 1


@pytest.mark.django_db(transaction=True)
def test_new_session() -> None:
    run()
    connection.close()
    assert run() == ROW
    assert count_prepared() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_statement", [False, True])
def test_another_session(has_statement: bool) -> None:
    """If a pooler passes on a session without the statement, or one that has it, the process uses the plain one."""
    run()
    with connection.cursor() as cursor:
        if has_statement:
            prepared_statements._thread.session.names.clear()
        else:
            cursor.execute("DEALLOCATE ALL")
    assert [run(), run()] == [ROW, ROW]
    assert count_prepared() == has_statement
    assert prepared_statements._thread.session.is_plain


@pytest.mark.django_db(transaction=True)
def test_reads_of_pages() -> None:
    """A web process prepares reads, but none in a transaction, and does without if a pooler passes on a session."""

    def read() -> Any:
        with connection.cursor() as cursor:
            prepared_statements.execute_read(cursor, SQL, VALUES)
            return cursor.fetchone()

    with patch.object(prepared_statements._State, "prepares_reads", True):
        with transaction.atomic():
            assert read() == ROW
        assert count_prepared() == 0
        assert [read() for _turn in range(7)] == [ROW] * 7
        assert count_prepared() == 1
        with connection.cursor() as cursor:
            cursor.execute("SHOW plan_cache_mode")
            assert cursor.fetchone() == ("auto",)
            cursor.execute("DEALLOCATE ALL")
        with transaction.atomic():
            assert read() == ROW
        assert [read(), read()] == [ROW, ROW]
        assert count_prepared() == 0
        with ThreadPoolExecutor(1) as pool:  # has its own connection and session
            assert pool.submit(lambda: (read(), count_prepared(), connection.close())[:2]).result() == (ROW, 1)  # type: ignore[func-returns-value]


def test_changed_result() -> None:
    """A migration that changes a column makes a plan unusable: the transaction fails once, its repetition works."""
    sql = "SELECT name FROM prepared_example"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE prepared_example (name varchar(10))")
        cursor.execute("INSERT INTO prepared_example VALUES ('a')")
    assert run(sql) == ("a",)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE prepared_example ALTER name TYPE varchar(20)")
    with pytest.raises(DatabaseError, match="cached plan"), transaction.atomic():
        run(sql)
    assert run(sql) == ("a",)


def test_message_flow(receiver: Receiver) -> None:
    phone = ApiChannelFactory()
    ApiChannelFactory(
        kind="acebot", redirect_url=receiver.url("/hook"), secret=True, watched=phone.default_chat_channel
    )
    for number in (0, 1, 1):  # new clients, an ordinary batch, and repeats
        group_commit._insert_events(build_events(phone, number))
        processing.process_inbox()
        dispatcher.send_due_deliveries()
    count = Message.objects.count()
    assert count == len(build_events(phone, 0)) * 2
    assert Delivery.objects.filter(state="delivered").count() == Attempt.objects.count() == count
    assert count_prepared() >= 12
