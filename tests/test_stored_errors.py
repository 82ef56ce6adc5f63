"""Errors stored with events and attempts say what failed, and never quote the client's words."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import Client
from requests import ConnectTimeout

from bridge.conversations import receiving
from bridge.inbox import processing
from bridge.models import Attempt, WebhookEvent
from bridge.outbox import dispatcher
from channels_setup.codecs.error_descriptions import describe_error, describe_traceback
from channels_setup.codecs.facts import ItemUnreadable
from channels_setup.models import ApiChannel
from channels_setup.providers.whatsapp_cloud import graph_webhooks
from config.monitoring.log_format import build_formatter
from config.monitoring.log_redaction import ArgumentRedactor
from tests.factories import ApiChannelFactory
from tests.receiver import Receiver
from tests.scenarios.inbox import post, says
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to

pytestmark = pytest.mark.django_db

WORDS = "Пароль-от-дачи-7731"
TABLE = """CREATE TEMPORARY TABLE checked (
    id int PRIMARY KEY, words text NOT NULL UNIQUE CHECK (length(words) > 3), short varchar(5), small smallint,
    parent int REFERENCES checked, during int4range, EXCLUDE USING gist (during WITH &&))"""
# SQLSTATE → a statement whose error quotes its values.
STATEMENTS = {
    "23505": f"INSERT INTO checked (id, words) VALUES (1, '{WORDS}'), (2, '{WORDS}')",
    "23502": f"INSERT INTO checked (id, short, words) VALUES (1, left('{WORDS}', 5), NULL)",
    "23514": f"INSERT INTO checked (id, words) VALUES (1, left('{WORDS}', 2))",
    "23P01": f"INSERT INTO checked (id, words, during) VALUES (1, '{WORDS}', '[1,5]'), (2, '{WORDS}2', '[2,6]')",
    "23503": f"INSERT INTO checked (id, words, parent) VALUES (1, '{WORDS}', 999); SET CONSTRAINTS ALL IMMEDIATE",
    "22001": f"INSERT INTO checked (id, words, short) VALUES (1, 'words', '{WORDS}')",
    "22003": f"INSERT INTO checked (id, words, small) VALUES (1, '{WORDS}', 99999999)",
    "22P02": f"SELECT '{WORDS}'::int",
    "22007": f"SELECT '{WORDS}'::timestamptz",
    "22021": f"SELECT convert_from(('{WORDS}'::bytea || '\\xff'::bytea), 'UTF8')",
    "42703": f'SELECT "{WORDS}" FROM checked',
    "42601": f"SELECT '{WORDS}' FROM FROM",
    "42883": f"SELECT abs('{WORDS}'::text)",
    "P0001": f"DO $$ BEGIN RAISE EXCEPTION '%', '{WORDS}'; END $$",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(build_formatter("json"))
    handler.addFilter(ArgumentRedactor())
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def fail_by(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def raise_error(error: Exception) -> None:
    raise error


def raise_key_error() -> None:
    {}[WORDS]


PYTHON_ERRORS = {
    "KeyError": raise_key_error,
    "ValueError": lambda: int(WORDS),
    "UnicodeDecodeError": lambda: WORDS.encode("utf-8")[1:].decode(),
    "UnicodeEncodeError": lambda: WORDS.encode("ascii"),
    "JSONDecodeError": lambda: json.loads(WORDS),
    "TypeError": lambda: (_ for _ in ()).throw(TypeError(f"cannot add {WORDS}")),
    "AssertionError": lambda: (_ for _ in ()).throw(AssertionError(WORDS)),
    "SMTPRecipientsRefused": lambda: raise_error(SMTPRecipientsRefused({WORDS: (550, WORDS.encode())})),
    "SMTPDataError": lambda: raise_error(SMTPDataError(554, WORDS.encode())),
    "ConnectTimeout": lambda: raise_error(ConnectTimeout(f"Max retries exceeded with url: /{WORDS}")),
    "ExceptionGroup": lambda: (_ for _ in ()).throw(ExceptionGroup(WORDS, [ValueError(WORDS)])),
}


@pytest.mark.parametrize("failure", [*STATEMENTS, *PYTHON_ERRORS])
def test_a_failed_event_keeps_no_words_of_the_client(
    client: Client, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, failure: str
) -> None:
    fail_by(TABLE)
    phone: ApiChannel = ApiChannelFactory()

    def fail(*_args: Any, **_options: Any) -> None:
        fail_by(STATEMENTS[failure]) if failure in STATEMENTS else PYTHON_ERRORS[failure]()

    def fail_with_a_cause(*_args: Any, **_options: Any) -> None:
        try:
            fail()
        except Exception as problem:
            raise RuntimeError(f"while storing {WORDS}") from problem

    for work in (fail, fail_with_a_cause):
        monkeypatch.setattr(receiving, "receive_messages", work)
        post(client, phone, says(WORDS))
        processing.process_inbox()

    for event in WebhookEvent.objects.order_by("pk"):
        stored = event.error + event.traceback
        assert event.state == "failed"
        assert failure in stored
        assert "in fail" in stored  # the traceback shows where
        assert not any(part in stored for part in (WORDS, WORDS[:2], "Failing row"))
    assert WebhookEvent.objects.count() == 2
    assert WORDS not in log.getvalue()
    assert "batch failed" in log.getvalue()


def test_a_database_error_is_described_by_its_code_and_column() -> None:
    fail_by(TABLE)
    with pytest.raises(IntegrityError) as caught:
        fail_by(STATEMENTS["23502"])

    assert describe_error(caught.value) == "IntegrityError: 23502 checked.words"
    assert WORDS[:5] not in describe_traceback(caught.value)


def test_an_attempt_keeps_no_words_of_the_client(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = create_channel_to(receiver, "/hook")
    boris_answers(anna_writes(channel), WORDS)

    def fail(*_args: Any, **_options: Any) -> None:
        raise KeyError(WORDS)

    monkeypatch.setattr(type(channel.provider), "build_message_request", fail)
    dispatcher.send_due_deliveries()

    attempt = Attempt.objects.get()
    assert (attempt.reason, WORDS in attempt.answer) == ("internal_error", False)
    assert "KeyError" in attempt.answer


def test_an_unreadable_item_keeps_no_words_of_the_client() -> None:
    def fail(_item: Any) -> None:
        raise KeyError(WORDS)

    [fact] = graph_webhooks._read_item({"text": WORDS}, fail)

    assert fact == ItemUnreadable(problem="KeyError")
