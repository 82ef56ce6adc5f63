"""Inserts by arrays: the same rows as ``bulk_create`` writes, and the same refusals."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.models import Attempt, Contact, Delivery, Message
from bridge.row_inserts import build_row, insert_rows, update_rows
from bridge.row_reads import RowReader
from tests.factories import ApiChannelFactory, ConversationFactory

pytestmark = pytest.mark.django_db


def build_messages() -> list[Message]:
    chat = ConversationFactory()
    shared = {"conversation": chat, "api_channel": chat.api_channel, "direction": "inbound"}
    return [
        Message(**shared, status="received", text="“кавычки”, \\слэш\\ {фигурные, NULL} '' \"\"\n\tи 👍"),
        Message(**shared, status="received", text="", template={"name": "a", "parameters": ["{1}", None]}),
        Message(**shared, status=Message.Status.SENT, details={"name": "x"}, reactions=[{"by": "us"}], shown={"a": []}),
        Message(**shared, status="received", external_id="wamid.1", provider_time=timezone.now()),
    ]


def read_values(rows: list[Any], *, without: tuple[str, ...]) -> list[dict[str, Any]]:
    model: type[models.Model] = type(rows[0])
    by_id = {row["id"]: row for row in model._default_manager.filter(pk__in=[row.pk for row in rows]).values()}
    return [{name: by_id[row.pk][name] for name in by_id[row.pk] if name not in ("id", *without)} for row in rows]


def test_rows_are_stored_as_bulk_create_stores_them() -> None:
    messages = build_messages()
    expected = read_values(Message.objects.bulk_create(messages), without=("created_at",))
    Message.objects.all().delete()
    for message in messages:
        message.pk, message._state.adding = None, True

    with CaptureQueriesContext(connection) as queries:
        stored = insert_rows(messages)

    assert stored == messages and len(queries) == 1
    assert read_values(stored, without=("created_at",)) == expected
    assert all(row.created_at is not None for row in Message.objects.all())


def test_defaults_of_the_database_and_other_types_are_kept() -> None:
    [message] = insert_rows(build_messages()[:1])
    delivery = Delivery(
        kind="event", conversation=message.conversation, message=message, api_channel=message.api_channel, payload=[1]
    )
    delivery.lease_token = uuid.uuid4()
    [stored] = insert_rows([delivery])
    [attempt] = insert_rows([Attempt(delivery=stored, number=1, started_at=timezone.now(), duration_ms=1, verdict="x")])

    row = Delivery.objects.get(pk=stored.pk)
    assert (row.payload, row.lease_token, row.free_text) == ([1], delivery.lease_token, False)
    assert abs((timezone.now() - row.next_attempt_at).total_seconds()) < 60
    assert Attempt.objects.get(pk=attempt.pk).answer == ""


def test_texts_that_the_database_sets_are_left_to_it() -> None:
    [contact] = insert_rows([Contact(api_channel=ApiChannelFactory(), external_id="1")])

    assert Contact.objects.get(pk=contact.pk).username == ""


def test_rows_that_differ_in_their_defaults_are_refused() -> None:
    [message] = insert_rows(build_messages()[:1])
    shared = {"conversation": message.conversation, "api_channel": message.api_channel, "kind": "event", "payload": {}}

    with pytest.raises(ValueError, match="next_attempt_at"):
        insert_rows([Delivery(**shared), Delivery(**shared, next_attempt_at=timezone.now())])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"reason": "x" * 41}, DataError),
        ({"status": None}, IntegrityError),
        ({"external_id": "same"}, IntegrityError),
        ({"text": "a\0b"}, ValueError),
    ],
)
def test_what_the_database_refuses_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    messages = build_messages()[:2]
    for message in messages:
        for name, value in change.items():
            setattr(message, name, value)

    with pytest.raises(error), transaction.atomic():
        insert_rows(messages)


def test_nothing_is_asked_for_no_rows(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert insert_rows([]) == []


def test_a_built_row_equals_one_of_the_model() -> None:
    chat = ConversationFactory()
    values = {"conversation": chat, "api_channel": chat.api_channel, "direction": "inbound", "merged_contact": None}
    built, expected = build_row(Message, **values, text="a"), Message(**values, text="a")

    for field in Message._meta.concrete_fields:
        assert getattr(built, field.attname) == getattr(expected, field.attname), field.name
    assert built._state.adding and built.conversation is chat and built.merged_contact is None
    assert build_row(Delivery).key != build_row(Delivery).key
    with pytest.raises(TypeError, match="Message has no field texts"):
        build_row(Message, texts="a")


def test_a_row_read_by_hand_equals_one_that_django_reads(django_assert_num_queries: Any) -> None:
    [message] = insert_rows(build_messages()[2:3])
    reader = RowReader(Message, "m")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {reader.columns} FROM bridge_message m")
        read = reader.read(cursor.fetchone())

    expected = Message.objects.get()
    with django_assert_num_queries(0):
        for field in Message._meta.concrete_fields:
            assert getattr(read, field.attname) == getattr(expected, field.attname), field.name
    assert read == expected and not read._state.adding
    read.text = "changed"
    read.save(update_fields=["text"])
    message.refresh_from_db()
    assert message.text == "changed" and message.conversation == read.conversation


def test_updated_rows_keep_their_other_columns(django_assert_num_queries: Any) -> None:
    first, second, third = insert_rows(build_messages()[:3])
    at = timezone.now()
    first.status, first.status_at, first.details = Message.Status.READ, at, {"title": "“кавычки” \\ {NULL}"}
    second.status, second.text = "failed", "not saved"

    with django_assert_num_queries(1):
        update_rows([first, second], ["status", "status_at", "details"])

    stored = Message.objects.in_bulk()
    assert (stored[first.pk].status, stored[first.pk].status_at) == ("read", at)
    assert stored[first.pk].details == {"title": "“кавычки” \\ {NULL}"}
    assert (stored[second.pk].status, stored[second.pk].status_at, stored[second.pk].text) == ("failed", None, "")
    assert stored[third.pk].status == third.status
