"""Stored events become facts, exactly once and in order; a bad one stays to be seen."""

import re
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bridge import settings_cache
from bridge.conversations import message_statuses, receiving
from bridge.inbox import event_claims, processing
from bridge.intake import group_commit
from bridge.models import Conversation, Message, ServiceWindow, StrayStatus, WebhookEvent
from bridge.raw_requests import MAX_BYTES
from channels_setup.models import ApiChannel, known_secrets
from channels_setup.providers.base import ContactInfo, MessageReceived, StatusChanged
from tests.factories import ApiChannelFactory, ChatChannelFactory, ConversationFactory, MessageFactory
from tests.scenarios.concurrency import run_together
from tests.scenarios.inbox import post, says

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> ApiChannel:
    return ApiChannelFactory()


def test_the_account_behind_an_address_is_read_once_in_two_seconds(
    client: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(settings_cache, "CACHE_SECONDS", 2.0)
    path = ApiChannelFactory(kind="sandbox").webhook_path
    known_secrets.current()

    with django_assert_num_queries(5):  # three of them note, once a minute, that the address was used
        client.post(path, b"{}", content_type="application/json")
    with django_assert_num_queries(1):
        assert client.post(path, b"{}", content_type="application/json").status_code == 200


def test_an_event_is_stored_raw_and_processed_later(client: Client, phone: ApiChannel) -> None:
    raw = '{"type": "message",  "id":"1", "from":{"id":"anna"}, "text":"\\u041f\\u0440ивет"}'.encode()

    response = post(client, phone, raw)

    assert response.status_code == 200
    event = WebhookEvent.objects.get()
    assert (bytes(event.body), event.state) == (raw, "new")
    assert not Message.objects.exists()

    assert processing.process_inbox() == 1
    assert Message.objects.get().text == "Привет"
    event.refresh_from_db()
    assert event.state == "processed"


@pytest.mark.parametrize(
    "path",
    ["/webhooks/sandbox/nonsense/", "/webhooks/nobody/x/", "/webhooks/acebot/{token}/", "/webhooks/sandbox/%00/"],
)
def test_a_wrong_address_is_refused_without_a_row(client: Client, phone: ApiChannel, path: str) -> None:
    response = client.post(path.format(token=phone.path_token), b"{}", content_type="application/json")

    assert response.status_code == 404
    assert not WebhookEvent.objects.exists()


def test_another_method_is_refused(client: Client, phone: ApiChannel) -> None:
    assert client.get(phone.webhook_path).status_code == 403
    assert client.put(phone.webhook_path).status_code == 405
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES - 1, 200), (MAX_BYTES, 200), (MAX_BYTES + 1, 413)])
def test_the_limit_is_exact_to_the_byte(client: Client, phone: ApiChannel, size: int, status: int) -> None:
    assert post(client, phone, b" " * size).status_code == status


def test_a_commit_that_fails_is_503_so_that_the_provider_tries_again(
    client: Client, phone: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(group_commit, "_execute_insert", broken)

    assert post(client, phone, says("?")).status_code == 503


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[]",
        b"5",
        b'{"n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b'{"type": "message"}',
        b'{"type": "message", "from": {"id": ""}, "text": "a"}',
        b'{"type": "status", "status": "lost", "message_id": 1}',
        b'{"type": "status", "status": "read", "message_id": {"a": 1}}',
        b'{"type": "clock", "from": {"id": "anna"}, "hours": 1e308}',
        b'{"type": "clock", "from": {"id": "anna"}, "hours": true}',
        b'{"type": "message", "from": {"id": "anna"}, "text": "a", "timestamp": NaN}',
        b'{"events": 5}',
        b'{"events": [5]}',
    ],
)
def test_a_body_that_cannot_be_read_is_kept_and_shown_as_failed(client: Client, phone: ApiChannel, raw: bytes) -> None:
    assert post(client, phone, raw).status_code == 200

    processing.process_inbox()

    event = WebhookEvent.objects.get()
    assert event.state == "failed"
    assert event.error
    assert not event.traceback
    assert bytes(event.body) == raw
    assert not Message.objects.exists()


def test_nul_and_lone_surrogates_reach_the_chat_as_replacement_marks(client: Client, phone: ApiChannel) -> None:
    post(client, phone, rb'{"type":"message","id":"1\u0000","from":{"id":"a\ud800"},"text":"x\u0000\ud800y"}')

    processing.process_inbox()

    assert Message.objects.get().text == "x\ufffd\ufffdy"


def test_one_bad_event_never_takes_the_good_ones_with_it(client: Client, phone: ApiChannel) -> None:
    post(client, phone, says("раз", number=1))
    post(client, phone, b"broken")
    post(client, phone, says("два", number=2))

    processing.process_inbox()

    assert [row.text for row in Message.objects.order_by("pk")] == ["раз", "два"]
    assert WebhookEvent.objects.filter(state="failed").count() == 1


def test_an_event_that_fails_in_the_database_fails_alone(
    client: Client, phone: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = receiving.receive_messages

    def fragile(api_channel: ApiChannel, incoming: Any, **options: Any) -> Any:
        if any(item.fact.text == "бомба" for item in incoming):
            raise ZeroDivisionError
        return receive(api_channel, incoming, **options)

    monkeypatch.setattr(receiving, "receive_messages", fragile)
    for number, text in enumerate(["раз", "бомба", "два"]):
        post(client, phone, says(text, number=number))

    processing.process_inbox()

    assert [row.text for row in Message.objects.order_by("pk")] == ["раз", "два"]
    failed = WebhookEvent.objects.get(state="failed")
    assert "ZeroDivisionError" in failed.traceback

    monkeypatch.setattr(receiving, "receive_messages", receive)
    assert processing.reprocess_events([failed.pk]) == 1
    processing.process_inbox()
    assert Message.objects.count() == 3


def test_an_event_that_kills_its_worker_every_time_ends_as_failed(client: Client, phone: ApiChannel) -> None:
    post(client, phone, says("убийца", number=1))
    post(client, phone, says("жив", number=2))
    WebhookEvent.objects.filter(pk=min(WebhookEvent.objects.values_list("pk", flat=True))).update(
        attempts=event_claims.MAX_EVENT_ATTEMPTS
    )

    processing.process_inbox()

    assert [row.text for row in Message.objects.all()] == ["жив"]
    assert WebhookEvent.objects.filter(state="failed").count() == 1


def test_channels_alternate(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_claims, "EVENT_BATCH", 1)
    phones = [ApiChannelFactory(), ApiChannelFactory()]
    for number in range(3):
        for phone in phones:
            post(client, phone, says("?", number=number, who=f"anna{phone.pk}"))

    assert processing.process_inbox() == 6

    first, second = phones
    assert [row.api_channel_id for row in Message.objects.order_by("pk")] == [first.pk, second.pk] * 3


def test_channels_are_ordered_by_their_oldest_event(phone: ApiChannel) -> None:
    other, outside = ApiChannelFactory(), ChatChannelFactory()
    WebhookEvent.objects.bulk_create(WebhookEvent(api_channel=other, body=b"{}") for _number in range(3_000))
    WebhookEvent.objects.create(chat_channel=outside, body=b"{}")
    WebhookEvent.objects.create(api_channel=phone, body=b"{}")

    with CaptureQueriesContext(connection) as captured:
        waiting = processing._find_channels_with_events()

    assert waiting == [("api_channel", other.pk), ("chat_channel", outside.pk), ("api_channel", phone.pk)]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE bridge_webhookevent")
        cursor.execute(f"EXPLAIN ANALYZE {captured[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    # Index entries of channels that other tests rolled back are no events: only scans of the events are judged.
    scans_of_events = "\n".join(line for line in plan.splitlines() if "bridge_webhookevent" in line)
    assert scans_of_events and not re.search(r"rows=\d{3,}\.?\d* loops", scans_of_events), plan
    assert not re.search(r"Rows Removed by Filter: \d{3}", plan), plan


def test_the_same_webhook_ten_times_is_one_message(client: Client, phone: ApiChannel) -> None:
    for _ in range(10):
        post(client, phone, says("раз", number=1))
    processing.process_inbox()
    post(client, phone, says("раз", number=1))
    processing.process_inbox()

    assert Message.objects.count() == 1
    assert Conversation.objects.get().unread == 1


def test_an_album_from_a_new_contact_opens_one_chat_and_one_window(client: Client, phone: ApiChannel) -> None:
    post(client, phone, {"events": [says(f"снимок {number}", number=number) for number in range(10)]})
    processing.process_inbox()

    assert Conversation.objects.count() == ServiceWindow.objects.count() == 1
    assert [row.text for row in Message.objects.order_by("pk")] == [f"снимок {number}" for number in range(10)]


def test_many_events_ask_the_database_few_questions(
    client: Client, phone: ApiChannel, django_assert_max_num_queries: Any
) -> None:
    for who in range(30):
        post(client, phone, says("?", who=f"client{who}"))
    with django_assert_max_num_queries(45):
        processing.process_inbox()

    assert Conversation.objects.count() == 30


@pytest.mark.django_db(transaction=True)
def test_two_workers_take_each_event_once_and_in_order(client: Client) -> None:
    phone = ApiChannelFactory()
    for number in range(60):
        post(client, phone, says(str(number), number=number))

    run_together(processing.process_inbox, processing.process_inbox)
    processing.process_inbox()

    assert [row.text for row in Message.objects.order_by("pk")] == [str(number) for number in range(60)]
    assert set(WebhookEvent.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_an_album_in_parallel_from_a_new_contact_opens_one_chat() -> None:
    phone = ApiChannelFactory()
    chat_channel = phone.default_chat_channel
    assert chat_channel

    def write(number: int) -> None:
        fact = MessageReceived(contact=ContactInfo(external_id="anna"), text=str(number), external_id=str(number))
        receiving.receive_messages(phone, [receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)])

    run_together(*[lambda number=number: write(number) for number in range(8)])

    assert Conversation.objects.count() == ServiceWindow.objects.count() == 1
    assert Message.objects.count() == 8


# --- statuses --------------------------------------------------------------------------------------------

ORDERS = [
    (["sent", "delivered", "read"], "read"),
    (["read", "delivered", "sent"], "read"),
    (["delivered", "sent"], "delivered"),
    (["read"], "read"),
    (["failed"], "failed"),
    (["failed", "sent"], "failed"),
    (["failed", "delivered"], "delivered"),
    (["delivered", "failed"], "delivered"),
    (["failed", "read", "delivered"], "read"),
    (["sent", "sent", "sent"], "sent"),
]


@pytest.mark.parametrize(("order", "final"), ORDERS, ids=[" ".join(order) for order, _final in ORDERS])
def test_ticks_only_move_forward(phone: ApiChannel, order: list[str], final: str) -> None:
    chat = ConversationFactory(api_channel=phone)
    message = MessageFactory(conversation=chat, outbound=True, status="pending")

    for word in order:
        message_statuses.apply_statuses(phone, [StatusChanged(status=word, message_id=message.pk)])

    message.refresh_from_db()
    assert message.status == final


def test_the_status_callback_moves_the_tick_and_says_why_it_failed(client: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/")
    message = MessageFactory(conversation=ConversationFactory(api_channel=channel), outbound=True, status="sent")
    body = {
        "message_id": str(message.pk),
        "status": "failed",
        "timestamp": 1_700_000_000,
        "error": {"code": 131026, "title": "Message undeliverable"},
    }

    assert post(client, channel, body).status_code == 200
    processing.process_inbox()

    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "provider_failed")
    assert "Message undeliverable (131026)" in message.sentence


def test_a_status_cannot_touch_another_channels_message(client: Client, phone: ApiChannel) -> None:
    theirs = MessageFactory(outbound=True, status="sent")

    post(client, phone, {"type": "status", "message_id": theirs.pk, "status": "read"})
    processing.process_inbox()

    theirs.refresh_from_db()
    assert theirs.status == "sent"


def test_a_status_before_its_message_waits_for_it(phone: ApiChannel) -> None:
    message_statuses.apply_statuses(phone, [StatusChanged(status="read", external_id="wamid.9")])
    message = MessageFactory(
        conversation=ConversationFactory(api_channel=phone), outbound=True, status="sent", external_id="wamid.9"
    )

    message_statuses.apply_stray_statuses(phone, [message])

    message.refresh_from_db()
    assert message.status == "read"
    assert not StrayStatus.objects.exists()


def test_a_status_for_a_message_we_never_had_is_kept_for_an_admin_to_see(client: Client, phone: ApiChannel) -> None:
    message = MessageFactory(conversation=ConversationFactory(api_channel=phone), outbound=True, status="sent")
    unknown = {"type": "status", "message_id": 999_999, "status": "read"}
    known = {"type": "status", "message_id": message.pk, "status": "delivered"}

    post(client, phone, {"events": [unknown, known]})
    processing.process_inbox()

    message.refresh_from_db()
    assert message.status == "delivered"
    assert StrayStatus.objects.get().external_id == "message_id 999999"


def test_an_address_without_its_last_slash_takes_the_event_too(client: Client, phone: ApiChannel) -> None:
    response = client.post(phone.webhook_path.rstrip("/"), says("?"), content_type="application/json")

    assert response.status_code == 200
    assert WebhookEvent.objects.exists()
