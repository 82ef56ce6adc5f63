"""What a kill, a broken connection, or a lock in another's hand cuts off costs nothing but itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import circuit_breaker
from bridge.files import inbound_downloads, provider_uploads
from bridge.inbox import processing
from bridge.maintenance import erasure, housekeeping
from bridge.models import (
    Attachment,
    Attempt,
    CircuitBreaker,
    Contact,
    Conversation,
    Delivery,
    Draft,
    Message,
    ServiceWindow,
)
from bridge.outbox import claims, dispatcher, results, settling
from bridge.outbox.attempts import AttemptResult
from channels_setup.models import UnknownPolicy
from channels_setup.providers.base import Outcome
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, ConversationFactory, MessageFactory
from tests.receiver import Receiver
from tests.scenarios.concurrency import is_lock_awaited
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to
from tests.simulators.usedesk import UsedeskSimulator
from tests.usedesk_shop import Shop

pytestmark = pytest.mark.django_db

BROKEN = OperationalError("deadlock detected")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "DB_RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        yield simulator


# --- the database goes away in the middle of a run ---


def test_calls_under_way_are_written_down_though_no_more_can_be_claimed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = create_channel_to(receiver, "/hook", on_unknown=UnknownPolicy.ASK)
    reply = boris_answers(anna_writes(channel))
    look, is_broken = claims.find_destinations, Event()

    def broken_while_a_call_is_under_way(*given: Any, **more: Any) -> Any:
        if Delivery.objects.filter(state="sending").exists():
            is_broken.set()
            raise BROKEN
        return look(*given, **more)

    receiver.answer("/hook", hold=lambda: is_broken.wait(15))
    monkeypatch.setattr(claims, "find_destinations", broken_while_a_call_is_under_way)

    with pytest.raises(OperationalError):
        dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    assert (Delivery.objects.get().state, reply.status) == ("delivered", "sent")
    assert len(receiver.requests) == 1


def test_what_was_claimed_and_never_called_does_not_look_as_if_it_had_been(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = create_channel_to(receiver, "/hook", on_unknown=UnknownPolicy.ASK)
    reply = boris_answers(anna_writes(channel))
    problems = [BROKEN]
    known = provider_uploads.find_cached_uploads

    def broken_at_first(deliveries: Any) -> Any:
        if problems:
            raise problems.pop()
        return known(deliveries)

    monkeypatch.setattr(provider_uploads, "find_cached_uploads", broken_at_first)

    with pytest.raises(OperationalError):
        dispatcher.send_due_deliveries()
    assert Delivery.objects.values_list("state", "attempts").get() == ("pending", 0)
    dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    assert (reply.status, len(receiver.requests)) == ("sent", 1)
    assert not Message.objects.filter(direction="notice").exists()


def test_a_running_helpdesk_call_is_recorded_although_claiming_fails(
    simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, look = Shop.of(simulator), claims.find_destinations
    shop.anna_writes("раз")
    processing.process_inbox()

    def broken_while_a_call_is_under_way(*given: Any, **more: Any) -> Any:
        if Delivery.objects.filter(state="sending").exists():
            raise BROKEN
        return look(*given, **more)

    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.0)  # look again while the call runs
    monkeypatch.setattr(claims, "find_destinations", broken_while_a_call_is_under_way)

    with pytest.raises(OperationalError):
        dispatcher.send_due_deliveries()

    assert Attempt.objects.values_list("verdict", flat=True).get() == "accepted"
    assert not Delivery.objects.filter(state="sending").exists()


# --- a file that is not there, a file that kills ---


def test_a_missing_file_delays_no_other_chat_of_the_helpdesk(
    simulator: UsedeskSimulator,
) -> None:
    shop = Shop.of(simulator, files="comment")
    shop.begin()
    shop.anna_writes("Вот чек")
    processing.process_inbox()
    delivery = Delivery.objects.filter(kind="helpdesk", state="pending").get()
    row = Attachment(message=delivery.message, name="check.png")
    row.file.save("check.png", ContentFile(b"..."))
    row.save()
    delivery.payload["files"] = ["https://portal.example/files/1"]
    delivery.save()
    row.file.storage.delete(str(row.file.name))
    shop.anna_writes("А я другая", who="client-2")

    shop.settle()

    assert "А я другая" in simulator.texts()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == ("pending", "internal_error")
    assert delivery.attempts >= 1
    assert delivery.next_attempt_at > timezone.now()


def test_a_file_that_kills_its_worker_uses_up_no_tries_of_its_neighbors() -> None:
    channel = ApiChannelFactory(kind="acebot")
    files = [
        Attachment.objects.create(
            message=MessageFactory(conversation__api_channel=channel),
            external_id=f"m{number}",
            state="waiting",
            due_at=timezone.now(),
        )
        for number in range(inbound_downloads.MAX_CONCURRENT_DOWNLOADS)
    ]
    killer = files[1].pk

    for _run in range(60):
        claimed = inbound_downloads._claim_attachments()
        if killer not in [row.pk for row in claimed]:
            for row in claimed:
                inbound_downloads._save_result(row, inbound_downloads.DownloadFailed("file_gone", is_permanent=True))
        # else the worker dies, and whatever it held waits for the end of its lease
        Attachment.objects.filter(state="waiting").update(due_at=timezone.now() - timedelta(seconds=1))

    rows = {row.pk: (row.state, row.error, row.tries) for row in Attachment.objects.all()}
    assert rows.pop(killer)[:2] == ("failed", "internal_error")
    assert set(rows.values()) == {("failed", "file_gone", 2)}


def test_a_file_whose_try_failed_is_no_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = ApiChannelFactory(kind="acebot")
    for number in range(inbound_downloads.MAX_CONCURRENT_DOWNLOADS):
        message = MessageFactory(conversation__api_channel=channel)
        Attachment.objects.create(message=message, external_id=f"m{number}", state="waiting", due_at=timezone.now())
    for row in inbound_downloads._claim_attachments():
        inbound_downloads._save_result(row, inbound_downloads.DownloadFailed("destination_error"))
    Attachment.objects.update(due_at=timezone.now() - timedelta(seconds=1))

    assert len(inbound_downloads._claim_attachments()) == inbound_downloads.MAX_CONCURRENT_DOWNLOADS


# --- a window runs out ---


def test_a_kill_while_windows_close_loses_no_notice_to_operators(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = anna_writes(create_channel_to(receiver, "/hook"))
    boris_answers(chat, "Сейчас посмотрю")
    Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(hours=4))  # its next try
    ServiceWindow.objects.update(expires_at=timezone.now())
    take_back, kills = settling.cancel_after_windows_closed, [SystemExit()]

    def killed_at_first(conversation_ids: Sequence[int]) -> None:
        if kills:
            raise kills.pop()
        take_back(conversation_ids)

    monkeypatch.setattr(settling, "cancel_after_windows_closed", killed_at_first)

    with pytest.raises(SystemExit):
        housekeeping.expire_windows()
    housekeeping.expire_windows()

    assert Message.objects.get(direction="notice").details["why_code"] == "window_closed_before_sending"
    assert Draft.objects.get().text == "Сейчас посмотрю"
    assert not service_window.get_window_state(chat).is_open


# --- locks ---


class Held:
    """Rows locked by another session until the block ends."""

    def __init__(self, work: Any) -> None:
        self.work, self.is_held, self.let_go = work, Event(), Event()
        self.thread = Thread(target=self._run)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                self.work()
                self.is_held.set()
                self.let_go.wait(30)
        finally:
            connection.close()

    def __enter__(self) -> None:
        self.thread.start()
        assert self.is_held.wait(30)

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self.thread.join(30)


@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_no_breaker_that_another_worker_has_in_hand(receiver: Receiver) -> None:
    busy, well = create_channel_to(receiver, "/busy"), create_channel_to(receiver, "/well")
    for channel in (busy, well):
        boris_answers(anna_writes(channel, who=f"anna-{channel.pk}"))
        CircuitBreaker.objects.create(api_channel=channel, is_open=True, probe_at=timezone.now() - timedelta(seconds=1))

    with Held(lambda: circuit_breaker.lock_breakers("api_channel", [busy.pk])), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        try:
            claimed = claim_deliveries(uuid.uuid4(), limit=5)
        finally:
            cursor.execute("RESET lock_timeout")

    assert [item.delivery.api_channel_id for item in claimed] == [well.pk]
    assert [item.delivery.api_channel_id for item in claim_deliveries(uuid.uuid4(), limit=5)] == [busy.pk]


@pytest.mark.django_db(transaction=True)
def test_breakers_are_locked_in_one_order_whatever_came_back_first(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create_channel_to(receiver, "/first"), create_channel_to(receiver, "/second")
    for channel in (first, second):
        receiver.answer(f"/{'first' if channel == first else 'second'}", status=500)
        boris_answers(anna_writes(channel, who=f"anna-{channel.pk}"))
        CircuitBreaker.objects.create(api_channel=channel)
    token = uuid.uuid4()
    tried = [
        AttemptResult(
            claimed=item,
            outcome=Outcome(verdict="retry", reason="rate_limited", whole_channel=True),
            started_at=timezone.now(),
            duration_ms=1,
        )
        for item in claim_deliveries(token, limit=5)
    ]
    waits = Event()

    def record_the_wrong_way_round() -> None:
        try:
            waits.set()
            results.save_results(list(reversed(tried)), token)
        finally:
            connection.close()

    writer = Thread(target=record_the_wrong_way_round)
    with Held(lambda: circuit_breaker.lock_breakers("api_channel", [first.pk])):
        writer.start()
        assert waits.wait(30)
        until = timezone.now() + timedelta(seconds=30)
        while not is_lock_awaited():
            assert timezone.now() < until
        with transaction.atomic():  # the second is still free: the one who waits has not taken it
            assert CircuitBreaker.objects.select_for_update(nowait=True, no_key=True).get(api_channel=second)
    writer.join(30)

    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}


@pytest.mark.django_db(transaction=True)
def test_erasure_takes_locks_in_the_order_of_incoming_messages() -> None:
    chat = ConversationFactory()

    def erase() -> None:
        try:
            erasure.erase_person(chat.contact_id, by=None)
        finally:
            connection.close()

    eraser = Thread(target=erase)
    with Held(lambda: Contact.objects.select_for_update(no_key=True).get(pk=chat.contact_id)):
        eraser.start()
        until = timezone.now() + timedelta(seconds=30)
        while not is_lock_awaited():
            assert timezone.now() < until
        with transaction.atomic():  # the chat is still free: the holder of the contact may go on
            assert Conversation.objects.select_for_update(nowait=True, no_key=True, of=("self",)).get(pk=chat.pk)
    eraser.join(30)

    assert Contact.objects.get(pk=chat.contact_id).erased_at
