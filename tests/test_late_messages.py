"""Late webhooks: the time when the client wrote, and a closed window, are the same on every page."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bridge import service_window
from bridge.desk.thread import messages
from bridge.inbox import processing
from bridge.models import Conversation, Message, ServiceWindow
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, EchoSeen, MessageEdited, MessageReceived, ReactionChanged
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.pages import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

ANNA = ContactInfo(external_id="79210000000", phone="+79210000000", name="Анна")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory()


def receive_late(channel: ApiChannel, *late: timedelta, texts: str = "abcdef") -> Conversation:
    """Deliver Anna's messages now, each written at its given age."""
    facts = [
        MessageReceived(contact=ANNA, text=text, external_id=f"wamid.{text}", at=timezone.now() - ago)
        for text, ago in zip(texts, late, strict=False)
    ]
    processing.apply_facts(channel, facts)
    return Conversation.objects.get()


def html(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def clock(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%H:%M}"


@pytest.mark.parametrize(
    ("late", "is_late"),
    [(timedelta(0), False), (2 * MINUTE, False), (4 * MINUTE, True), (3 * HOUR, True), (6 * DAY, True)],
    ids=["now", "two minutes", "four minutes", "hours", "days"],
)
def test_a_late_message_shows_its_time_and_that_it_was_late(
    channel: ApiChannel, client: Client, late: timedelta, is_late: bool
) -> None:
    chat = receive_late(channel, late)
    message = Message.objects.get()
    assert message.provider_time
    api = Client().get(f"/api/v1/messages/{message.pk}/", headers=token_of(vera())).json()
    page = html(signed_in(client, boris(chat.chat_channel)), f"/chats/{chat.pk}/")

    assert api["received_late"] is is_late
    expected = message.provider_time if is_late else message.created_at
    assert datetime.fromisoformat(api["written_at"]) == expected
    assert ("received late" in page) is is_late
    assert f'<time datetime="{timezone.localtime(expected).isoformat()}"' in page
    if is_late:
        assert f"Received today, {clock(message.created_at)}" in page


def test_an_impossible_timestamp_is_not_shown(channel: ApiChannel, client: Client) -> None:
    chat = receive_late(channel, 3650 * DAY)
    page = html(signed_in(client, boris(chat.chat_channel)), f"/chats/{chat.pk}/")

    assert not Message.objects.get().is_received_late
    assert "received late" not in page


def test_a_late_echo_is_marked_as_late(channel: ApiChannel) -> None:
    receive_late(channel, timedelta(0))
    processing.apply_facts(
        channel, [EchoSeen(contact=ANNA, text="Да", external_id="wamid.e", at=timezone.now() - HOUR)]
    )

    assert Message.objects.get(direction="outbound").is_received_late


@pytest.mark.parametrize(
    ("late", "order"),
    [
        ((timedelta(0), 3 * DAY), "ba"),
        ((3 * DAY, HOUR, 2 * DAY), "acb"),
        ((2 * timedelta(seconds=1), 5 * timedelta(seconds=1)), "ba"),
    ],
)
def test_messages_without_a_reply_between_them_are_ordered_by_writing_time(
    channel: ApiChannel, late: tuple[timedelta, ...], order: str
) -> None:
    chat = receive_late(channel, *late)
    page = messages.build_thread_page(
        chat, tickets=messages.list_requests(chat), before=None, may_write=True, now=service_window.database_now()
    )

    assert "".join(item.message.message.text for item in page.items if item.message) == order


def test_a_late_message_stays_below_a_reply_sent_without_it(channel: ApiChannel) -> None:
    chat = receive_late(channel, timedelta(0))
    processing.apply_facts(channel, [EchoSeen(contact=ANNA, text="!", external_id="wamid.e", at=timezone.now())])
    receive_late(channel, 2 * DAY, texts="b")
    page = messages.build_thread_page(
        chat, tickets=messages.list_requests(chat), before=None, may_write=True, now=service_window.database_now()
    )

    assert "".join(item.message.message.text for item in page.items if item.message) == "a!b"


# --- a chat whose only message came too late -------------------------------------------------------------


@pytest.fixture
def late_chat(channel: ApiChannel) -> Conversation:
    return receive_late(channel, DAY + MINUTE)


def test_the_window_is_closed_in_the_api_and_for_a_reply(late_chat: Conversation) -> None:
    headers = token_of(vera())
    row = Client().get(f"/api/v1/conversations/{late_chat.pk}/", headers=headers).json()
    found = {
        state: Client().get("/api/v1/conversations/", {"window": state}, headers=headers).json()["results"]
        for state in ("open", "closed", "none", "unrestricted")
    }
    refused = Client().post(
        f"/api/v1/conversations/{late_chat.pk}/messages/",
        {"text": "?"},
        content_type="application/json",
        headers=headers,
    )

    written_at = Message.objects.get().provider_time
    assert written_at
    assert row["window"]["state"] == "closed"
    assert datetime.fromisoformat(row["window"]["expires_at"]) == written_at + DAY
    assert {state: len(rows) for state, rows in found.items()} == {"open": 0, "closed": 1, "none": 0, "unrestricted": 0}
    assert refused.json()["reason"] == "window_closed"


@pytest.mark.parametrize(
    "address", ["/chats/{pk}/", "/chats/?window=closed", "/chats/", "/windows/", "/admin/bridge/conversation/"]
)
def test_every_page_says_closed_rather_than_never_written(
    late_chat: Conversation, client: Client, address: str
) -> None:
    page = html(signed_in(client, vera()), address.format(pk=late_chat.pk))

    assert "closed" in page.lower()
    assert "has not written yet" not in page and "not open yet" not in page


def test_the_list_shows_when_the_message_was_written(channel: ApiChannel, client: Client) -> None:
    chat = receive_late(channel, 3 * DAY)
    page = html(signed_in(client, boris(chat.chat_channel)), "/chats/")

    assert f'<span class="ends" title="received late, today, {clock(Message.objects.get().created_at)}">' in page
    receive_late(channel, timedelta(0), texts="b")
    assert Conversation.objects.get().last_written_at is None


def test_a_late_message_counts_as_a_missed_window(late_chat: Conversation) -> None:
    window = ServiceWindow.objects.get()

    assert (window.state, window.missed, window.conversation) == ("closed", True, late_chat)


def test_the_training_phone_shows_a_closed_window_too(channel: ApiChannel, client: Client) -> None:
    receive_late(channel, 2 * DAY)
    client.force_login(vera())
    found = client.get(f"{channel.phone_page_path}messages", {"from": ANNA.external_id}).json()
    written_at = Message.objects.get().provider_time

    assert found["window"]["state"] == "closed"
    assert written_at and found["messages"][0]["time"] == clock(written_at)


def test_a_late_reaction_or_edit_records_a_closed_window(channel: ApiChannel) -> None:
    at = timezone.now() - 3 * DAY
    for fact in (
        MessageEdited(contact=ANNA, target_id="wamid.x", text="?", external_id="wamid.1", at=at),
        ReactionChanged(contact=ANNA, target_id="wamid.x", emoji="👍", external_id="wamid.2", at=at + HOUR),
    ):
        processing.apply_facts(channel, [fact])

    assert service_window.get_window_state(Conversation.objects.get()).state == "closed"
