"""Rate limits: shared by all workers, without using up attempts, and without delaying other destinations."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection
from django.utils import timezone

from bridge import wakeups
from bridge.channel_health import rate_limits
from bridge.conversations import receiving
from bridge.maintenance import pruning
from bridge.models import CircuitBreaker, Conversation, Delivery, RateLimit
from bridge.outbox import dispatcher
from bridge.worker_runs import begin_run
from channels_setup.models import ApiChannel
from channels_setup.providers.base import (
    RETRY,
    Account,
    CallRate,
    ContactInfo,
    DeliveryRequest,
    MessageReceived,
    Messenger,
    Outcome,
)
from tests.factories import ApiChannelFactory, waits
from tests.receiver import Receiver
from tests.scenarios.sending import boris_answers, create_channel_to

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


def chat_of(api_channel: ApiChannel, who: str = "anna") -> Conversation:
    chat_channel = api_channel.default_chat_channel
    assert chat_channel
    fact = MessageReceived(contact=ContactInfo(external_id=who), text="?")
    received = receiving.receive_messages(
        api_channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)]
    )
    return received[0].conversation


def set_limit(api_channel: ApiChannel, calls_per_second: float) -> None:
    ApiChannel.objects.filter(pk=api_channel.pk).update(calls_per_second=calls_per_second)


def test_a_channel_keeps_to_its_calls_per_second(api_channel: ApiChannel, receiver: Receiver) -> None:
    set_limit(api_channel, 20)
    for number in range(12):
        boris_answers(chat_of(api_channel, f"client {number}"))

    while Delivery.objects.filter(state="pending").exists():  # one run gets enough time, however slow the machine is
        dispatcher.send_due_deliveries()

    times = [request.at for request in receiver.requests]
    assert len(times) == 12
    assert times[-1] - times[0] >= 11 / 20 * 0.9
    assert set(Delivery.objects.values_list("state", "attempts")) == {("delivered", 1)}


def test_a_run_without_a_place_to_wait_waits_for_its_limits(
    api_channel: ApiChannel, receiver: Receiver, called: list[str]
) -> None:
    set_limit(api_channel, 20)
    for number in range(4):
        boris_answers(chat_of(api_channel, f"client {number}"))

    with begin_run(wakeups.OUTBOUND, "worker") as run:
        assert run is not None and not run.may_wait
        assert dispatcher.send_due_deliveries(run=run) == 4


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_one_limit(receiver: Receiver) -> None:
    api_channel = create_channel_to(receiver, "/hook")
    set_limit(api_channel, 20)
    for number in range(12):
        boris_answers(chat_of(api_channel, f"client {number}"))

    def work() -> None:
        while Delivery.objects.filter(state="pending").exists():
            dispatcher.send_due_deliveries()
        connection.close()

    workers = [Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)

    times = sorted(request.at for request in receiver.requests)
    assert len(times) == 12
    assert times[-1] - times[0] >= 11 / 20 * 0.9


def test_a_rate_limited_channel_delays_no_other(api_channel: ApiChannel, receiver: Receiver) -> None:
    set_limit(api_channel, 0.1)
    other = create_channel_to(receiver, "/other")
    for number in range(3):
        boris_answers(chat_of(api_channel, f"client {number}"))
    for number in range(3):
        boris_answers(chat_of(other, f"client {number}"))

    started = time.monotonic()
    dispatcher.send_due_deliveries()

    assert time.monotonic() - started < 9  # the limit's next call is ten seconds away
    assert [request.path for request in receiver.requests].count("/other") == 3
    assert [request.path for request in receiver.requests].count("/hook") == 1
    waiting = Delivery.objects.filter(api_channel=api_channel, state="pending")
    assert [delivery.attempts for delivery in waiting] == [0, 0]
    assert all(delivery.lease_token is None for delivery in waiting)
    assert dispatcher.get_oldest_due_age(now=timezone.now() + timedelta(seconds=20)) == 0


def test_a_limit_of_one_contact_does_not_affect_others(
    api_channel: ApiChannel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_contact(_self: Messenger, outgoing: DeliveryRequest, _account: Account) -> tuple[CallRate, ...]:
        return (CallRate(key=f"pair:{outgoing.contact.external_id}", every=600, burst=2),)

    monkeypatch.setattr(type(api_channel.provider), "call_rates", by_contact)
    anna, ivan = chat_of(api_channel, "anna"), chat_of(api_channel, "ivan")
    for number in range(4):
        boris_answers(anna, f"Анне {number}")
    boris_answers(ivan, "Ивану")

    dispatcher.send_due_deliveries()

    assert sorted(request.json["text"] for request in receiver.requests) == ["Анне 0", "Анне 1", "Ивану"]
    assert Delivery.objects.filter(state="pending").count() == 2


def test_each_refusal_of_one_contact_waits_four_times_longer(
    api_channel: ApiChannel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = type(api_channel.provider)
    refused = Outcome(verdict=RETRY, reason="wa_pair_limit", contact_backoff_base=4, code="131056")
    pair = CallRate(key="to anna", every=6, burst=45)
    monkeypatch.setattr(provider, "judge_response", lambda _self, _answer: refused)
    monkeypatch.setattr(provider, "call_rates", lambda _self, _outgoing, _account: (pair,))
    boris_answers(chat_of(api_channel, "anna"))
    waited = []

    for _ in range(5):
        Delivery.objects.update(next_attempt_at=timezone.now())
        RateLimit.objects.update(met_at=timezone.now())
        dispatcher.send_due_deliveries()
        waited.append(waits(Delivery.objects.get()))
        free_at = RateLimit.objects.get().met_at - timedelta(seconds=(pair.burst - 1) * pair.every)
        assert abs((free_at - Delivery.objects.get().next_attempt_at).total_seconds()) < 5

    assert all(due <= got <= due + 10 for got, due in zip(waited, (1, 4, 16, 64, 256), strict=True)), waited


def test_a_delivery_takes_from_all_its_limits_or_from_none() -> None:
    api_channel = ApiChannelFactory()
    delivery = Delivery(pk=1, api_channel=api_channel)
    narrow, wide = CallRate(key="narrow", every=10), CallRate(key="wide", every=10, burst=5)
    requests = [rate_limits.RateRequest(delivery=delivery, rates=(narrow, wide))]

    assert rate_limits.postpone_limited(requests, uuid.uuid4()) == set()
    assert rate_limits.postpone_limited(requests, uuid.uuid4()) == {1}

    # The second request took from neither.
    assert (
        rate_limits.postpone_limited([rate_limits.RateRequest(delivery=delivery, rates=(wide,))], uuid.uuid4()) == set()
    )
    met_at = RateLimit.objects.get(key="wide").met_at
    assert 15 < (met_at - timezone.now()).total_seconds() <= 20


@pytest.fixture
def retry_after_provider(api_channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    outcome = Outcome(verdict=RETRY, reason="rate_limited", retry_after=60, whole_channel=True)
    monkeypatch.setattr(type(api_channel.provider), "judge_response", lambda _self, _answer: outcome)
    yield


@pytest.mark.usefixtures("retry_after_provider")
def test_a_providers_retry_after_applies_to_the_whole_channel(api_channel: ApiChannel, receiver: Receiver) -> None:
    boris_answers(chat_of(api_channel, "anna"))
    dispatcher.send_due_deliveries()
    boris_answers(chat_of(api_channel, "ivan"))

    dispatcher.send_due_deliveries()

    assert len(receiver.requests) == 1
    assert CircuitBreaker.objects.get().backoff_until > timezone.now() + timedelta(seconds=45)
    assert dispatcher.get_oldest_due_age(now=timezone.now() + timedelta(seconds=30)) == 0
    CircuitBreaker.objects.update(backoff_until=timezone.now())
    dispatcher.send_due_deliveries()
    assert len(receiver.requests) == 2  # Ivan's; Anna's delivery keeps its own schedule


def test_unused_buckets_are_deleted(api_channel: ApiChannel) -> None:
    now = timezone.now()
    for key, age in (("old", 2), ("new", 0)):
        RateLimit.objects.create(
            api_channel=api_channel,
            key=key,
            every=1,
            burst=1,
            whole_channel=False,
            met_at=now - timedelta(hours=age),
        )

    assert sum(pruning.prune_buckets()) == 1

    assert RateLimit.objects.get().key == "new"
