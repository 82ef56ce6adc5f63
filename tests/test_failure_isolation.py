"""What goes wrong in our own house costs nothing but itself: a result is written down, the others have their turn."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.sessions.models import Session
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.test import Client
from django.utils import timezone

from bridge.channel_health import rate_limits
from bridge.files import inbound_downloads, uploads
from bridge.inbox import processing
from bridge.maintenance import housekeeping
from bridge.models import Alert, Attachment, Attempt, Delivery, Message, RateLimit, WebhookEvent
from bridge.outbox import dispatcher, results
from bridge.outbox.attempts import AttemptResult
from channels_setup.models import ApiChannel, ChatChannel, Secret, UnknownPolicy
from channels_setup.providers.base import ACCEPTED, ApiResponse, CallRate, Outcome
from config.monitoring.log_format import build_formatter
from tests.factories import ApiChannelFactory, ContactFactory, MessageFactory, waits
from tests.receiver import Receiver
from tests.scenarios.inbox import post, says
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to
from tests.simulators.usedesk import UsedeskSimulator
from tests.usedesk_shop import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "DB_RETRY_DELAYS", (0.0, 0.0))


def spoil_the_secret(channel: ApiChannel) -> None:
    """As if a key had gone from FIELD_KEYS too early."""
    assert Secret.objects.filter(api_channel=channel).update(token=b"gAAAAAB-not-ours")


def test_a_provider_that_gives_two_messages_one_id_costs_neither_of_them(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = create_channel_to(receiver, "/hook", on_unknown=UnknownPolicy.ASK)
    replies = [boris_answers(anna_writes(channel, who=who)) for who in ("anna", "client-2", "client-3")]

    def judge(_provider: Any, answer: ApiResponse) -> Outcome:
        return Outcome(verdict=ACCEPTED, external_id="wamid.always-the-same")

    monkeypatch.setattr(type(channel.provider), "judge_message_response", judge)

    assert dispatcher.send_due_deliveries() == 3

    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert Attempt.objects.count() == len(receiver.requests) == 3
    for reply in replies:
        reply.refresh_from_db()
    assert {reply.status for reply in replies} == {"sent"}
    assert sorted(reply.external_id for reply in replies) == ["", "", "wamid.always-the-same"]


def test_an_answer_that_we_cannot_judge_is_no_reason_to_send_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = create_channel_to(receiver, "/hook", on_unknown=UnknownPolicy.ASK)
    boris_answers(anna_writes(channel))

    def judge(_provider: Any, answer: ApiResponse) -> Outcome:
        raise KeyError(answer.status)

    monkeypatch.setattr(type(channel.provider), "judge_message_response", judge)

    dispatcher.send_due_deliveries()

    assert (Delivery.objects.get().state, len(receiver.requests)) == ("unknown", 1)
    assert Message.objects.get(direction="notice").reason == "may_have_been_sent"


@pytest.mark.parametrize("problem", [OperationalError("deadlock detected"), InterfaceError("connection closed")])
def test_a_result_is_written_down_though_the_database_refuses_it_at_first(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    channel = create_channel_to(receiver, "/hook", on_unknown=UnknownPolicy.ASK)
    reply = boris_answers(anna_writes(channel))
    record, refusals = results.record_attempts, [problem, problem]

    def refused_at_first(tried: Sequence[AttemptResult], token: Any) -> None:
        if refusals:
            raise refusals.pop()
        record(tried, token)

    monkeypatch.setattr(results, "record_attempts", refused_at_first)

    assert dispatcher.send_due_deliveries() == 1

    reply.refresh_from_db()
    assert (Delivery.objects.get().state, reply.status, len(receiver.requests)) == ("delivered", "sent", 1)


def test_a_channel_whose_keys_cannot_be_read_keeps_no_other_from_sending(receiver: Receiver) -> None:
    broken, well = create_channel_to(receiver, "/broken"), create_channel_to(receiver, "/well")
    for channel in (broken, well):
        boris_answers(anna_writes(channel, who=f"anna-{channel.pk}"))
    spoil_the_secret(broken)

    dispatcher.send_due_deliveries()

    assert [request.path for request in receiver.requests] == ["/well"]
    waiting = Delivery.objects.get(api_channel=broken)
    assert (waiting.state, waiting.reason, waiting.attempts) == ("pending", "internal_error", 1)
    assert waits(waiting) > 0
    assert "FIELD_KEYS" in Attempt.objects.get(delivery=waiting).answer


def test_a_channel_whose_keys_cannot_be_read_keeps_no_other_from_receiving(client: Client) -> None:
    broken, well = ApiChannelFactory(secret=True), ApiChannelFactory()
    post(client, broken, says("Сломан"))
    post(client, well, says("Цел"))
    spoil_the_secret(broken)

    processing.process_inbox()

    assert Message.objects.get(direction="inbound").text == "Цел"
    waiting = WebhookEvent.objects.get(api_channel=broken)
    assert (waiting.state, waiting.attempts) == ("new", 0)  # no fault of its own


def test_a_channel_with_unreadable_keys_delays_no_other_downloads(receiver: Receiver) -> None:
    broken, well = ApiChannelFactory(kind="acebot", secret=True), ApiChannelFactory(kind="acebot", secret=True)
    rows = [
        Attachment.objects.create(
            message=MessageFactory(conversation__api_channel=channel),
            external_id=f"file-{channel.pk}",
            state="waiting",
            due_at=timezone.now(),
        )
        for channel in (broken, well)
    ]
    spoil_the_secret(broken)

    inbound_downloads.download_due_files()

    for row in rows:
        row.refresh_from_db()
    assert rows[0].error == "internal_error"
    assert rows[1].tries == 1
    assert rows[1].due_at
    assert rows[1].due_at < timezone.now() + timedelta(seconds=60)  # judged, and not left to its lease


def test_a_file_that_kills_its_worker_every_time_is_given_up() -> None:
    message = MessageFactory(conversation__api_channel=ApiChannelFactory(kind="acebot"))
    file = Attachment.objects.create(message=message, external_id="m1", state="waiting", due_at=timezone.now())
    for _ in range(len(inbound_downloads.RETRY_DELAYS) + 1):
        assert len(inbound_downloads._claim_attachments()) == 1  # and the worker dies
        Attachment.objects.update(due_at=timezone.now() - timedelta(seconds=1))

    assert inbound_downloads._claim_attachments() == []

    file.refresh_from_db()
    assert (file.state, file.due_at) == ("failed", None)
    assert file.error


def test_an_event_that_must_wait_lets_none_of_its_channel_pass(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = ApiChannelFactory()
    for number in range(3):
        post(client, phone, says(f"{number}", number=number))
    apply, calls = processing.apply_facts, []

    def busy_at_first(channel: ApiChannel, facts: Any, references: Any) -> None:
        calls.append(len(facts))
        if len(calls) <= 2:
            raise OperationalError("deadlock detected")
        apply(channel, facts, references)

    monkeypatch.setattr(processing, "apply_facts", busy_at_first)

    for _run in range(3):
        processing.process_inbox()

    assert list(Message.objects.order_by("pk").values_list("text", flat=True)) == ["0", "1", "2"]
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"processed"}


def test_an_event_whose_connection_broke_is_not_failed_for_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = ApiChannelFactory()
    post(client, phone, says("?"))
    apply, problems = processing.apply_facts, [InterfaceError("closed"), InterfaceError("closed")]

    def broken_at_first(channel: ApiChannel, facts: Any, references: Any) -> None:
        if problems:
            raise problems.pop()
        apply(channel, facts, references)

    monkeypatch.setattr(processing, "apply_facts", broken_at_first)

    for _run in range(3):
        processing.process_inbox()

    assert WebhookEvent.objects.get().state == "processed"


def test_a_limit_is_held_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    channel, now = ApiChannelFactory(kind="acebot"), timezone.now()
    rate = CallRate(key="to:anna", every=6.0, burst=1, whole_channel=False)
    RateLimit.objects.create(
        api_channel=channel, key=rate.key, every=rate.every, burst=1, whole_channel=False, met_at=now
    )
    monkeypatch.setattr(timezone, "now", lambda: now - timedelta(minutes=10))  # this worker's clock is slow

    rate_limits.exhaust_limits(channel.pk, [rate], seconds=30)

    assert RateLimit.objects.get().met_at > now + timedelta(seconds=29)


def test_what_an_alert_was_about_long_ago_is_not_kept_for_ever() -> None:
    channel, long_ago = ApiChannelFactory(), timezone.now() - timedelta(days=400)
    over = Alert.objects.create(kind=Alert.Kind.BREAKER, api_channel=channel, settled_at=long_ago)
    standing = Alert.objects.create(kind=Alert.Kind.STUCK, api_channel=channel)
    Alert.objects.update(raised_at=long_ago)

    housekeeping.prune_expired_rows()

    assert list(Alert.objects.all()) == [standing]
    assert json.dumps(over.details) == "{}"


def test_sign_ins_and_sessions_are_not_kept_for_ever(client: Client) -> None:
    for days in (1, 400):
        when = timezone.now() - timedelta(days=days)
        for model in (AccessAttempt, AccessFailureLog, AccessLog):
            more = {"failures_since_start": 1} if model is AccessAttempt else {}
            row = model.objects.create(username=f"{days} days", ip_address="203.0.113.7", user_agent="x", **more)
            model.objects.filter(pk=row.pk).update(attempt_time=when)
    for name, seconds in (("over", -1), ("good", 60)):
        until = timezone.now() + timedelta(seconds=seconds)
        Session.objects.create(session_key=name, session_data="", expire_date=until)

    housekeeping.prune_expired_rows()

    kept = [model.objects.values_list("username", flat=True) for model in (AccessAttempt, AccessFailureLog, AccessLog)]
    assert [list(names) for names in kept] == [["1 days"]] * 3
    assert list(Session.objects.values_list("session_key", flat=True)) == ["good"]


def test_old_rows_go_though_a_file_cannot_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    event = WebhookEvent.objects.create(api_channel=ApiChannelFactory(), endpoint="webhook", state="processed")
    WebhookEvent.objects.update(received_at=timezone.now() - timedelta(days=400))

    def no_such_disk() -> Iterator[int]:
        raise OSError("read-only file system")
        yield 0

    monkeypatch.setattr(uploads, "prune_uploads", no_such_disk)
    housekeeping.prune_expired_rows()

    assert not WebhookEvent.objects.filter(pk=event.pk).exists()


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_the_database_says_of_a_row_is_in_no_log(style: str) -> None:
    contact = ContactFactory(external_id="79211234567")
    try:
        with transaction.atomic():
            ContactFactory(api_channel=contact.api_channel, external_id=contact.external_id)
    except IntegrityError:
        record = logging.LogRecord("bridge", logging.ERROR, __file__, 1, "not stored", (), sys.exc_info())

    line = build_formatter(style).format(record)

    assert "IntegrityError" in line
    assert "test_failure_isolation.py" in line
    assert contact.external_id not in line


# --- an external helpdesk ---


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        yield simulator


def test_a_helpdesk_result_is_stored_after_a_database_error(
    simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, record, refusals = Shop.of(simulator), results.record_attempts, [OperationalError("deadlock detected")]

    def refused_at_first(tried: Any, token: Any) -> None:
        if refusals:
            raise refusals.pop()
        record(tried, token)

    monkeypatch.setattr(results, "record_attempts", refused_at_first)
    shop.anna_writes("раз")
    shop.settle()

    assert not refusals
    assert set(Delivery.objects.filter(kind=Delivery.Kind.HELPDESK).values_list("state", flat=True)) == {"delivered"}
    assert simulator.texts() == ["раз"]


def test_a_helpdesk_with_an_unreadable_key_delays_no_other(simulator: UsedeskSimulator) -> None:
    with UsedeskSimulator() as other:
        broken, well = Shop.of(other), Shop.of(simulator)
        for shop in (broken, well):
            shop.anna_writes("раз", who=f"anna-{shop.channel.pk}")
        ChatChannel.objects.filter(pk=broken.chat_channel.pk).update(secret=b"gAAAAAB-not-ours")

        processing.process_inbox()
        dispatcher.send_due_deliveries()

        assert (simulator.texts(), other.texts()) == (["раз"], [])


def test_an_unreadable_helpdesk_response_is_looked_up_and_not_resent(
    simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop.of(simulator)
    provider = type(shop.chat_channel.provider)
    read, surprises = provider.read_response, []

    def surprised(self: Any, telling: Any, answer: ApiResponse) -> Any:
        if surprises:
            raise surprises.pop()
        return read(self, telling, answer)

    monkeypatch.setattr(provider, "read_response", surprised)
    simulator.echoes = False  # nothing comes back: only a look can tell
    shop.anna_writes("раз")
    shop.settle()
    surprises.append(KeyError("chat"))
    shop.anna_writes("два")
    shop.settle()
    shop.hurry()

    assert not surprises
    assert simulator.texts() == ["раз", "два"]
