"""The database has the schema of another release: work waits, nothing fails, and callers send again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import InterfaceError, ProgrammingError, connection, transaction
from django.test import Client, RequestFactory

from bridge import tasks
from bridge.conversations import receiving
from bridge.inbox import event_claims, processing, schema_failures
from bridge.models import Delivery, Message, WebhookEvent
from bridge.outbox import dispatcher
from bridge.raw_requests import mark_event_failed
from channels_setup import database_schema, schema_pauses
from channels_setup.advisory_locks import LockSpace
from channels_setup.database_schema import (
    SchemaMismatch,
    SchemaState,
    SchemaWatch,
    list_code_migrations,
    read_schema_state,
)
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel
from config.monitoring import health
from config.serving.schema_gate import SchemaGate
from tests.databases import connect_as_other_client, lock_held_elsewhere
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.pages import signed_in
from tests.receiver import Receiver
from tests.scenarios.inbox import post, says
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> SchemaWatch:
    """The state of a process that has just started."""
    watch = SchemaWatch(is_enabled=True)
    monkeypatch.setattr(database_schema, "watch", watch)
    monkeypatch.setattr(schema_pauses, "_pauses", {})
    monkeypatch.setattr(schema_pauses, "_logged", {})
    return watch


@pytest.fixture
def phone() -> ApiChannel:
    return ApiChannelFactory()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def change_migrations(statement: str) -> None:
    """Change django_migrations as `migrate` does: committed by another session."""
    other = connect_as_other_client()
    other.autocommit = True
    with other.cursor() as cursor:
        cursor.execute(statement)
    other.close()


@pytest.fixture
def next_release() -> Iterator[None]:
    """The database has a migration of the next release."""
    change_migrations("INSERT INTO django_migrations (app, name, applied) VALUES ('bridge', '9999_next', now())")
    yield
    change_migrations("DELETE FROM django_migrations WHERE name = '9999_next'")


# --- old code, new schema --------------------------------------------------------------------------------


def test_the_test_database_has_exactly_the_migrations_of_the_code() -> None:
    assert read_schema_state() == SchemaState()


def test_events_wait_for_a_column_that_the_code_does_not_fill(client: Client, phone: ApiChannel) -> None:
    execute("ALTER TABLE bridge_message ADD COLUMN next_column text NOT NULL")
    for number in range(3):
        post(client, phone, says("?", number=number))

    for _ in range(event_claims.MAX_EVENT_ATTEMPTS + 1):  # more often than an event may be interrupted
        processing.process_inbox()

    assert set(WebhookEvent.objects.values_list("state", "attempts", "error")) == {("new", 0, "")}
    execute("ALTER TABLE bridge_message ALTER COLUMN next_column SET DEFAULT ''")
    assert processing.process_inbox() == 3
    assert Message.objects.count() == 3
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"processed"}


@pytest.mark.usefixtures("next_release")
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE bridge_message RENAME COLUMN text TO body",
        "ALTER TABLE bridge_message RENAME TO bridge_letter",
        "ALTER TABLE bridge_conversation DROP COLUMN last_text CASCADE",
    ],
)
def test_events_wait_for_what_the_new_schema_has_no_more(client: Client, phone: ApiChannel, change: str) -> None:
    post(client, phone, says("?"))
    execute(change)

    processing.process_inbox()

    assert list(WebhookEvent.objects.values_list("state", "attempts", "error")) == [("new", 0, "")]


def test_wrong_sql_of_ours_fails_its_own_event_only(
    client: Client, phone: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migrations are those of the code, so no upgrade will fix it."""
    receive = receiving.receive_messages

    def fail(api_channel: ApiChannel, incoming: Any, **options: Any) -> Any:
        if any(item.fact.text == "bad" for item in incoming):
            execute("SELECT no_such_column FROM bridge_message")
        return receive(api_channel, incoming, **options)

    monkeypatch.setattr(receiving, "receive_messages", fail)
    post(client, phone, says("bad"))
    post(client, phone, says("good", number=1))
    processing.process_inbox()

    assert list(WebhookEvent.objects.order_by("pk").values_list("state", "error")) == [
        ("failed", "ProgrammingError: 42703"),
        ("processed", ""),
    ]
    monkeypatch.setattr(receiving, "receive_messages", receive)
    assert schema_failures.reprocess_schema_failures() == 1  # the next `migrate`
    processing.process_inbox()
    assert Message.objects.count() == 2


def test_only_errors_of_the_schema_are_processed_again(client: Client, phone: ApiChannel) -> None:
    for number in range(4):
        post(client, phone, says("?", number=number))
    first, second, third, fourth = WebhookEvent.objects.order_by("pk")
    mark_event_failed(first, "IntegrityError: 23502 bridge_message.next_column")
    mark_event_failed(second, "IntegrityError: 23505 bridge_message_key")
    mark_event_failed(third, KeyError("42703"))
    mark_event_failed(fourth, 'ProgrammingError: column "next" does not exist')  # by a worker of an older release

    assert schema_failures.reprocess_schema_failures() == 2
    assert list(WebhookEvent.objects.filter(state="new").order_by("pk")) == [first, fourth]


@pytest.mark.usefixtures("next_release")
def test_deliveries_wait_with_their_attempts(receiver: Receiver) -> None:
    boris_answers(anna_writes(create_channel_to(receiver, "/hook")))
    execute("ALTER TABLE bridge_delivery RENAME COLUMN next_attempt_at TO due_at")

    with pytest.raises(SchemaMismatch, match=r"migration bridge\.9999_next"), transaction.atomic():
        dispatcher.send_due_deliveries()

    assert list(Delivery.objects.values_list("state", "attempts")) == [("pending", 0)]
    assert not receiver.requests


def test_a_webhook_is_sent_again_until_its_event_can_be_stored(client: Client, phone: ApiChannel) -> None:
    execute("ALTER TABLE bridge_webhookevent ADD COLUMN next_column text NOT NULL")

    response = post(client, phone, says("?"))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.usefixtures("next_release")
@pytest.mark.parametrize("path", ["/chats/{}/", "/api/v1/conversations/"])
def test_pages_and_the_api_answer_503_that_the_caller_repeats(phone: ApiChannel, path: str) -> None:
    chat = anna_writes(phone)
    client, headers = Client(raise_request_exception=False), token_of(vera()) if "api" in path else {}
    signed_in(client, boris(phone.default_chat_channel))
    execute("ALTER TABLE bridge_conversation RENAME COLUMN last_text TO last_words")

    response = client.get(path.format(chat.pk), headers=headers)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("next_release")
def test_a_loop_over_rows_stops_instead_of_blaming_its_rows() -> None:
    items = FailingItems("loop")

    with pytest.raises(SchemaMismatch), items.isolate(1):
        execute("SELECT no_such_column FROM bridge_message")

    assert not items.items_in_backoff()


@pytest.mark.usefixtures("next_release")
def test_a_task_pauses_until_the_migrations_change(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    monkeypatch.setattr(schema_pauses, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(database_schema, "CHECK_SECONDS", 0.0)

    def work() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise SchemaMismatch("42703 the database has another schema")
        return 5

    assert schema_pauses.run_unless_waiting("work", work) is None
    assert schema_pauses.run_unless_waiting("work", work) is None
    assert schema_pauses.run_unless_waiting("other", lambda: 7) == 7
    assert len(tries) == 1
    change_migrations("DELETE FROM django_migrations WHERE name = '9999_next'")
    assert schema_pauses.run_unless_waiting("work", work) == 5


@pytest.mark.usefixtures("next_release")
def test_health_names_unknown_migrations_and_stays_ready() -> None:
    """During an upgrade the release before works on: a red answer would take it out of the load balancer."""
    found = health.check_schema()

    assert found["state"] == "ok"
    assert found["note"].startswith("The database has migration bridge.9999_next, which this code does not know.")


# --- new code, old schema --------------------------------------------------------------------------------


LAST = max(name for app, name in list_code_migrations() if app == "bridge")
RESTORE = f"UPDATE django_migrations SET name = '{LAST}' WHERE app = 'bridge' AND name = 'x'"


@pytest.fixture
def before_migrate() -> Iterator[None]:
    """The database lacks a migration of the code."""
    change_migrations(f"UPDATE django_migrations SET name = 'x' WHERE app = 'bridge' AND name = '{LAST}'")
    yield
    change_migrations(RESTORE)


def answer(path: str) -> tuple[int, Any, dict[str, str]]:
    """Ask the portal as the web server does."""
    sent: list[Any] = []
    scope = RequestFactory().get(path).environ
    gate = SchemaGate(lambda *_: sent.append("passed"))  # type: ignore[arg-type, return-value]
    response = gate(scope, lambda status, headers: sent.extend([status, dict(headers)]))
    if sent == ["passed"]:
        return 200, None, {}
    return int(sent[0].split()[0]), b"".join(response).decode(), sent[1]


@pytest.mark.usefixtures("before_migrate")
def test_new_code_answers_503_until_the_database_is_migrated(watch: SchemaWatch) -> None:
    for path in ("/webhooks/acebot/x/", "/uapi/chat/addMessage", "/api/v1/messages/", "/desk/", "/metrics"):
        status, body, headers = answer(path)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert "being upgraded" in body or "обновляется" in body
    assert json.loads(answer("/uapi/clients")[1])["code"] == 503
    assert answer("/health/ready")[0] == answer("/static/okno.css")[0] == 200

    change_migrations(RESTORE)
    watch.checked_at = float("-inf")  # a second later
    assert answer("/desk/")[0] == 200
    assert watch.fits


@pytest.mark.usefixtures("before_migrate")
def test_new_workers_begin_no_task_until_the_database_is_migrated(client: Client, phone: ApiChannel) -> None:
    post(client, phone, says("?"))

    assert tasks.process_inbox() is None
    assert list(WebhookEvent.objects.values_list("state", "attempts")) == [("new", 0)]


@pytest.mark.usefixtures("before_migrate")
def test_it_still_waits_while_the_database_is_away(watch: SchemaWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = database_schema.find_reason_to_wait()

    def fail() -> SchemaState:
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(database_schema, "read_schema_state", fail)
    watch.checked_at = float("-inf")  # a second later
    assert reason and database_schema.find_reason_to_wait() == reason


@pytest.mark.usefixtures("before_migrate")
def test_health_is_red_and_says_what_to_do() -> None:
    assert health.check_components()["schema"] == {
        "state": "red",
        "error": f"The database lacks migration bridge.{LAST} of this code. Run manage.py migrate.",
    }


def test_a_process_that_fits_never_looks_again(watch: SchemaWatch, django_assert_num_queries: Any) -> None:
    assert database_schema.find_reason_to_wait() == ""

    with django_assert_num_queries(0):
        assert database_schema.find_reason_to_wait() == ""


def test_an_error_while_migrate_runs_is_no_fault_of_the_message() -> None:
    """Between a statement of `migrate` and the record of its migration, the lists are equal."""
    with lock_held_elsewhere(LockSpace.MIGRATE, 0), pytest.raises(SchemaMismatch, match="being upgraded"):
        execute("SELECT no_such_column FROM bridge_message")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ProgrammingError) as caught:
        execute("SELECT no_such_column FROM bridge_message")

    assert not isinstance(caught.value, SchemaMismatch)
