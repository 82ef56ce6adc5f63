"""Batches of the inbox: claims of events, remembered settings, and the number of statements."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from bridge import settings_cache
from bridge.conversations import receiving
from bridge.inbox import channel_settings, processing
from bridge.inbox.event_claims import MAX_EVENT_ATTEMPTS, claim_events
from bridge.models import Conversation, Delivery, Message, WebhookEvent
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory

pytestmark = pytest.mark.django_db


def store_events(channel: ApiChannel, count: int, *, first: int = 0, attempts: int = 0) -> list[int]:
    """Store one message of each of `count` clients. Return the events' IDs."""
    bodies = [
        b'{"type": "message", "id": "m%d", "from": {"id": "client%d"}, "text": "?"}' % (number, number % 100)
        for number in range(first, first + count)
    ]
    rows = WebhookEvent.objects.bulk_create(
        WebhookEvent(
            api_channel=channel, endpoint="webhook", content_type="application/json", body=body, attempts=attempts
        )
        for body in bodies
    )
    return [row.pk for row in rows]


def process(channel: ApiChannel) -> None:
    processing.process_events(channel.pk, claim_events(channel.pk))


# --- claims -------------------------------------------------------------------------------------------------


def test_one_statement_claims_events_and_counts_their_attempt(channel: ApiChannel) -> None:
    ids = store_events(channel, 3)
    store_events(ApiChannelFactory(), 1)

    with CaptureQueriesContext(connection) as queries:
        claimed = claim_events(channel.pk)

    assert len(queries) == 1
    assert [(event.pk, event.attempts) for event in claimed] == [(pk, 1) for pk in ids]
    assert list(WebhookEvent.objects.order_by("pk").values_list("attempts", flat=True)) == [1, 1, 1, 0]


def test_an_interrupted_event_makes_the_next_one_go_alone(channel: ApiChannel) -> None:
    [first] = store_events(channel, 1)
    [interrupted] = store_events(channel, 1, first=1, attempts=2)
    store_events(channel, 2, first=2)

    for expected in ([(first, 1)], [(interrupted, 3)]):
        claimed = claim_events(channel.pk)
        assert [(event.pk, event.attempts) for event in claimed] == expected
        WebhookEvent.objects.filter(pk=claimed[0].pk).update(state="processed")
    assert len(claim_events(channel.pk)) == 2


def test_exhausted_events_fail_and_the_others_are_claimed(channel: ApiChannel) -> None:
    exhausted = store_events(channel, 2, attempts=MAX_EVENT_ATTEMPTS)
    ids = store_events(channel, 2, first=2)

    assert [event.pk for event in claim_events(channel.pk)] == ids

    failed = WebhookEvent.objects.filter(state="failed").order_by("pk")
    assert [row.pk for row in failed] == exhausted
    assert all(str(MAX_EVENT_ATTEMPTS) in row.error for row in failed)


def test_a_batch_of_exhausted_events_leads_to_the_next_one(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.inbox.event_claims.EVENT_BATCH", 2)
    store_events(channel, 4, attempts=MAX_EVENT_ATTEMPTS)
    ids = store_events(channel, 1, first=4)

    assert [event.pk for event in claim_events(channel.pk)] == ids
    assert claim_events(ApiChannelFactory().pk) == []


@pytest.mark.django_db(transaction=True)
def test_only_the_claim_itself_does_not_wait_for_the_disk(channel: ApiChannel) -> None:
    def read_setting() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return str(cursor.fetchone()[0])

    store_events(channel, 2)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
    with transaction.atomic():
        assert len(claim_events(channel.pk)) == 2
        assert read_setting() == "off"
    assert read_setting() == "on"


def test_a_claim_looks_its_events_up_by_primary_key(channel: ApiChannel) -> None:
    """Also on a table that was never analyzed and holds many processed events."""
    store_events(channel, 200)
    WebhookEvent.objects.bulk_create(
        WebhookEvent(api_channel=channel, body=b"{}", state="processed") for _number in range(5_000)
    )

    with CaptureQueriesContext(connection) as captured:
        claim_events(channel.pk)

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {captured[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan, plan


# --- remembered settings ------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the cache of settings: set `clock[0]`."""
    now = [1_000_000.0]
    monkeypatch.setattr(settings_cache, "CACHE_SECONDS", 2.0)
    monkeypatch.setattr(settings_cache, "monotonic", lambda: now[0])
    return now


def count_settings_reads(channel: ApiChannel) -> int:
    with CaptureQueriesContext(connection) as queries:
        process(channel)
    return sum('FROM "channels_setup_' in query["sql"] for query in queries)


def test_settings_are_read_once_in_two_seconds(channel: ApiChannel, clock: list[float]) -> None:
    ApiChannel.objects.filter(pk=channel.pk).update(first_inbound_at="2026-11-29T10:00Z")
    reads = []
    for number, seconds in enumerate((0, 1.9, 0.2)):
        clock[0] += seconds
        store_events(channel, 1, first=number)
        reads.append(count_settings_reads(channel))

    assert reads == [4, 0, 4]


def test_changed_settings_work_after_two_seconds(channel: ApiChannel, clock: list[float]) -> None:
    watcher = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", watched=[])
    store_events(channel, 1)
    process(channel)
    other = ChatChannelFactory()
    channel.watched.set([other])
    watcher.watched.set([other])

    clock[0] += 2.1
    store_events(channel, 1, first=1)
    process(channel)

    assert Conversation.objects.filter(chat_channel=other).count() == 1
    assert Delivery.objects.get().api_channel == watcher


def test_settings_are_read_again_after_a_failed_batch(
    channel: ApiChannel, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chat channel or a subscriber may have been deleted in the meantime."""
    watcher = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", watched=channel.default_chat_channel)
    store_events(channel, 1)
    process(channel)
    Delivery.objects.all().delete()
    ApiChannel.objects.filter(pk=watcher.pk).delete()
    receive = receiving.receive_messages

    def receive_and_check(*args: Any, **options: Any) -> Any:
        received = receive(*args, **options)
        if Delivery.objects.filter(api_channel=watcher.pk).exists():
            raise IntegrityError("the constraint is checked at the commit")
        return received

    monkeypatch.setattr(receiving, "receive_messages", receive_and_check)
    store_events(channel, 2, first=1)
    process(channel)

    assert Message.objects.count() == 3
    assert not WebhookEvent.objects.exclude(state="processed").exists()


def test_the_first_event_counts_although_its_batch_failed(
    channel: ApiChannel, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = processing.finish_events, []

    def fail_once(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        finish(*args)

    monkeypatch.setattr(processing, "finish_events", fail_once)
    store_events(channel, 1)
    process(channel)

    channel.refresh_from_db()
    assert channel.first_inbound_at is not None


def test_a_failed_event_leaves_no_change_in_the_remembered_channel(
    channel: ApiChannel, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(processing, "finish_events", fail)
        store_events(channel, 1)
        process(channel)
    store_events(channel, 1, first=1)
    process(channel)

    channel.refresh_from_db()
    assert channel.first_inbound_at is not None


def test_account_updates_of_two_workers_are_all_kept(clock: list[float]) -> None:
    """An event that changes the channel is applied to its current state, not to a remembered one."""
    channel = ApiChannelFactory(kind="whatsapp_cloud")
    channel_settings.get_channel(channel.pk)
    channel.update_provider_status(updates=[{"event": "account_update", "details": "another worker's"}])
    body = (
        b'{"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "account_alerts",'
        b' "value": {"entity_type": "WABA", "alert_type": "OBA_REJECTED", "alert_severity": "WARNING"}}]}]}'
    )
    WebhookEvent.objects.create(api_channel=channel, endpoint="webhook", content_type="application/json", body=body)
    process(channel)

    channel.refresh_from_db()
    assert [row["event"] for row in channel.provider_status["updates"]][1:] == ["account_update"]


# --- statements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_an_ordinary_batch_takes_seven_statements(channel: ApiChannel, clock: list[float], count: int) -> None:
    """Whatever their number: messages of known clients with an open request and window, for one receiver."""
    ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", watched=channel.default_chat_channel)
    store_events(channel, count)
    process(channel)
    store_events(channel, count, first=100)

    with CaptureQueriesContext(connection) as queries:
        process(channel)

    assert Delivery.objects.count() == Message.objects.count() == 2 * count
    statements = [query["sql"].split() for query in queries]
    assert [" ".join(words[:3]) for words in statements if "SAVEPOINT" not in words] == [
        "WITH waiting AS",  # claim the events
        "WITH wanted AS",  # contacts and conversations, locked; was a message erased?
        "WITH chats AS",  # stored messages, requests, windows, held replies, corrections
        'INSERT INTO "bridge_message"',
        "WITH extended AS",  # windows and conversations
        'INSERT INTO "bridge_delivery"',
        "UPDATE bridge_webhookevent e",  # finished
    ]


def test_an_event_without_items_for_the_channel_is_finished(channel: ApiChannel) -> None:
    WebhookEvent.objects.create(
        api_channel=channel, endpoint="webhook", content_type="application/json", body=b'{"events": []}'
    )
    process(channel)

    event = WebhookEvent.objects.get()
    assert event.state == "processed" and event.error
