"""Counters, histograms and gauges of /metrics: what they count, across processes and without the servers."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from bridge.inbox import processing
from bridge.metrics import catalog, counters, flushing, recording
from bridge.models import Alert, CircuitBreaker, Delivery, Message, Mismatch
from bridge.outbox import dispatcher
from channels_setup.models import ChannelState
from config import celery
from config.monitoring import gauges
from tests.factories import ApiChannelFactory, DeliveryFactory, ServiceWindowFactory
from tests.receiver import Receiver
from tests.scenarios.inbox import post, says
from tests.scenarios.sending import boris_answers

pytestmark = pytest.mark.django_db
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def no_counts() -> Iterator[None]:
    counters.pending.take()
    flushing.flusher.redis.client.delete(flushing.HASH)
    flushing.flusher.unsent = {}
    yield
    flushing.flusher.redis.client.delete(flushing.HASH)


def scrape() -> Samples:
    text = Client().get("/metrics").content.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


# --- counting ---------------------------------------------------------------------------------------------


def test_counts_of_all_processes_are_added_up() -> None:
    channel = ApiChannelFactory()
    label = catalog.name_api_channel(channel.pk)
    catalog.EVENTS_STORED.count(label, number=2)

    def child() -> None:
        catalog.EVENTS_STORED.count(label, number=5)
        flushing.flusher.flush()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(10)

    assert value(scrape(), "okno_webhook_events_stored_total", channel=label) == 7
    assert value(scrape(), "okno_webhook_events_stored_total", channel=label) == 7


def test_a_process_flushes_when_it_ends() -> None:
    program = (
        "import django; django.setup()\nfrom bridge.metrics import catalog\ncatalog.WINDOWS_CLOSED.count(number=3)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    assert value(scrape(), "okno_windows_closed_total") == 3


def test_counting_fails_for_no_lack_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(counters.pending, "has_started", False)
    monkeypatch.setattr(counters.pending, "on_first_count", fail)
    catalog.WINDOWS_CLOSED.count()

    assert value(scrape(), "okno_windows_closed_total") == 1 and not counters.pending.has_started


def test_a_flush_whose_response_was_lost_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.WINDOWS_CLOSED.count(number=4)
    client = flushing.flusher.redis.client
    evaluate = client.eval

    def lose_response(*arguments: Any) -> None:
        evaluate(*arguments)
        raise redis.ConnectionError

    monkeypatch.setattr(client, "eval", lose_response)
    with pytest.raises(redis.ConnectionError):
        flushing.flusher.flush()
    monkeypatch.undo()
    catalog.WINDOWS_CLOSED.count()

    assert value(scrape(), "okno_windows_closed_total") == 5


def test_counts_wait_while_redis_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(flushing.flusher.redis.client, "eval", refuse)
    catalog.WINDOWS_CLOSED.count()
    without = scrape()
    flushing.flush_safely()
    catalog.WINDOWS_CLOSED.count()
    monkeypatch.undo()

    assert value(without, "okno_broker_up") == 0 and value(without, "okno_windows_closed_total") is None
    assert value(without, "okno_database_up") == 1 and value(without, "okno_open_windows") == 0
    assert value(scrape(), "okno_windows_closed_total") == 2


@pytest.mark.django_db(transaction=True)
def test_work_that_is_rolled_back_is_not_counted() -> None:
    from django.db import transaction

    channel = ApiChannelFactory()
    with pytest.raises(OperationalError), transaction.atomic():
        recording.count_reply(channel.pk, "text")
        raise OperationalError
    with transaction.atomic():
        recording.count_reply(channel.pk, "refuse")

    samples, label = scrape(), catalog.name_api_channel(channel.pk)
    assert value(samples, "okno_replies_total", channel=label, decision="text") == 0
    assert value(samples, "okno_replies_total", channel=label, decision="refuse") == 1


def test_a_histogram_has_cumulative_buckets_and_its_sum() -> None:
    for seconds in (-1.0, 0.01, 0.03, 20.0):
        catalog.ATTEMPT_DURATION.observe(seconds, "message")

    samples = scrape()
    name = "okno_delivery_attempt_duration_seconds"
    bounds = {"0.005": 1, "0.01": 2, "0.05": 3, "10.0": 3, "+Inf": 4}
    assert {bound: value(samples, f"{name}_bucket", kind="message", le=bound) for bound in bounds} == bounds
    assert value(samples, f"{name}_sum", kind="message") == pytest.approx(20.04)
    assert value(samples, f"{name}_count", kind="message") == 4


def test_counts_of_a_deleted_channel_are_forgotten() -> None:
    kept, deleted = (catalog.name_api_channel(pk) for pk in (ApiChannelFactory().pk, 987_654))
    for label in (kept, deleted):
        catalog.EVENTS_STORED.count(label)

    samples = scrape()

    assert value(samples, "okno_webhook_events_stored_total", channel=kept) == 1
    assert value(samples, "okno_webhook_events_stored_total", channel=deleted) is None
    assert all(deleted not in labels for _name, labels, _part in flushing.read_counts())


@pytest.mark.django_db(transaction=True)
def test_each_step_of_a_message_is_counted(client: Client, receiver: Receiver) -> None:
    owner = ApiChannelFactory()
    flags = {f"track_{kind}": kind == "message" for kind in owner.EVENT_KINDS}
    hook = receiver.url("/hook")
    bot = ApiChannelFactory(kind="acebot", watched=owner.watched.get(), secret=True, redirect_url=hook, **flags)
    receiver.answer("/hook", status=503, times=1)
    post(client, owner, says("Здравствуйте"))
    post(client, owner, says("Здравствуйте"))  # the provider repeats it
    post(client, owner, b"not JSON")
    processing.process_inbox()
    dispatcher.send_due_deliveries()
    Delivery.objects.update(next_attempt_at=timezone.now())
    CircuitBreaker.objects.all().delete()
    dispatcher.send_due_deliveries()
    boris_answers(Message.objects.get().conversation)
    dispatcher.send_due_deliveries()

    samples = scrape()

    api, other = catalog.name_api_channel(owner.pk), catalog.name_api_channel(bot.pk)
    assert value(samples, "okno_webhook_events_stored_total", channel=api) == 3
    assert value(samples, "okno_webhook_events_finished_total", channel=api, outcome="processed") == 2
    assert value(samples, "okno_webhook_events_finished_total", channel=api, outcome="failed") == 1
    assert value(samples, "okno_inbox_delay_seconds_count") == 3
    assert value(samples, "okno_messages_received_total", channel=api, outcome="new") == 1
    assert value(samples, "okno_messages_received_total", channel=api, outcome="duplicate") == 1
    attempts = {
        verdict: value(samples, "okno_delivery_attempts_total", channel=other, kind="event", verdict=verdict)
        for verdict in ("accepted", "retry", "permanent", "pause", "unknown")
    }
    assert attempts == {"accepted": 1, "retry": 1, "permanent": 0, "pause": 0, "unknown": 0}
    delays = {
        stage: value(samples, "okno_delivery_delay_seconds_count", kind="event", stage=stage)
        for stage in ("first_attempt", "delivered")
    }
    assert delays == {"first_attempt": 1, "delivered": 1}
    assert value(samples, "okno_replies_total", channel=api, decision="text") == 1
    assert value(samples, "okno_message_statuses_total", channel=api, status="sent") == 1
    route = {"route": "/webhooks/", "method": "POST", "status": "2xx"}
    assert value(samples, "okno_http_request_duration_seconds_count", **route) == 3


def test_task_runs_are_counted_by_outcome() -> None:
    class Request:
        started_at = time.monotonic() - 2.0

    class Task:
        name, request = "bridge.tasks.expire_windows", Request()

    for state in ("SUCCESS", "FAILURE", None):
        celery.count_task_run(task=Task(), state=state)

    samples = scrape()
    runs = {
        outcome: value(samples, "okno_task_runs_total", task="expire_windows", outcome=outcome)
        for outcome in ("success", "failure")
    }
    assert runs == {"success": 1, "failure": 2}
    assert value(samples, "okno_task_duration_seconds_bucket", task="expire_windows", le="1.0") == 0


# --- series -----------------------------------------------------------------------------------------------


def test_all_known_series_exist_from_the_start_as_zero() -> None:
    label = catalog.name_api_channel(ApiChannelFactory().pk)
    samples = scrape()

    zero = {
        "okno_delivery_attempts_total": {"channel": label, "kind": "message", "verdict": "unknown"},
        "okno_messages_received_total": {"channel": label, "outcome": "new"},
        "okno_message_statuses_total": {"channel": label, "status": "read"},
        "okno_file_downloads_total": {"channel": label, "outcome": "failed"},
        "okno_webhook_events_finished_total": {"channel": label, "outcome": "failed"},
        "okno_delivery_delay_seconds_count": {"kind": "note", "stage": "delivered"},
        "okno_task_runs_total": {"task": "expire_windows", "outcome": "failure"},
        "okno_queue_deliveries": {"channel": label, "kind": "event"},
        "okno_inbox_events": {"channel": label},
        "okno_circuit_breaker_open": {"channel": label},
        "okno_window_expiry_lag_seconds": {},
    }
    assert {name: value(samples, name, **labels) for name, labels in zero.items()} == dict.fromkeys(zero, 0)
    assert all(value(samples, "okno_mismatches", kind=kind) == 0 for kind in Mismatch.Kind.values)
    alerts = {dict(labels)["kind"]: number for (name, labels), number in samples.items() if name == "okno_alerts_open"}
    assert alerts == dict.fromkeys(Alert.Kind.values, 0)
    assert all(value(samples, "okno_api_channels", state=state) is not None for state in ChannelState.values)
    assert value(samples, "okno_heartbeat_age_seconds", component="beat") == float("inf")


def test_gauges_show_queues_by_channel_and_late_windows() -> None:
    late = timezone.now() - timedelta(seconds=120)
    delivery = DeliveryFactory(next_attempt_at=late)
    DeliveryFactory(api_channel=delivery.api_channel, conversation=delivery.conversation, state="sending")
    ServiceWindowFactory(opened_at=late - timedelta(hours=24), expires_at=late)

    samples = scrape()

    queue = {"channel": catalog.name_api_channel(delivery.api_channel_id), "kind": str(delivery.kind)}
    assert value(samples, "okno_queue_deliveries", **queue) == 2
    assert 120 <= (value(samples, "okno_queue_oldest_seconds", **queue) or 0) < 150
    assert 120 <= (value(samples, "okno_window_expiry_lag_seconds") or 0) < 150


def test_counts_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = DeliveryFactory(state="dead")
    for _ in range(3):
        DeliveryFactory(api_channel=delivery.api_channel, conversation=delivery.conversation, state="dead")
    monkeypatch.setattr(gauges, "COUNT_LIMIT", 2)

    assert value(scrape(), "okno_deliveries", state="dead") == 2


def test_label_values_hold_no_personal_data() -> None:
    """Labels of counters are words, IDs of channels and routes. Only the info metrics have names."""
    Client().get("/chats/", {"q": "+79215550123"})
    Client().get("/no/such/page/79215550123/")
    Client().generic("BREW", "/webhooks/acebot/secret-token/")

    for _name, labels, _part in flushing.read_counts():
        assert not any("79215550123" in label or "secret" in label or label == "BREW" for label in labels)


def test_every_metric_is_documented() -> None:
    from pathlib import Path

    page = Path("docs/monitoring/README.md").read_text()
    names = {name.rsplit("_bucket")[0] for name, _labels in scrape()} | set(counters.CATALOG)
    families = {name.removesuffix("_sum").removesuffix("_count").removesuffix("_created") for name in names}

    assert [name for name in sorted(families) if f"`{name}" not in page] == []


def test_known_values_cover_what_the_portal_can_count() -> None:
    from channels_setup.providers.base import deliveries
    from config.serving import body_buffer

    verdicts = {deliveries.ACCEPTED, deliveries.RETRY, deliveries.PERMANENT, deliveries.PAUSE, deliveries.UNKNOWN}
    reasons = {each.reason for each in vars(body_buffer).values() if isinstance(each, body_buffer.RejectedBody)}
    assert set(catalog.ATTEMPTS.known_values["verdict"]) == verdicts
    assert set(catalog.REJECTED_REQUESTS.known_values["reason"]) == reasons | {"unknown_webhook_address"}
    assert set(catalog.ATTEMPTS.known_values["kind"]) == set(Delivery.Kind.values)


def test_the_web_server_loads_before_django_is_set_up() -> None:
    """Its modules are imported first, and some of them count."""
    subprocess.run([sys.executable, "-c", "import config.wsgi"], check=True, timeout=120)
