"""The training phone: what was handed over, to whoever holds its address, and nothing else."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge import conversations, inbox, outbox, relay
from bridge.models import Conversation, Message
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.factories import ApiChannelFactory, boris

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Телефон")


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "anna", "Здравствуйте")


def writes(channel: ApiChannel, sender: str, text: str) -> Conversation:
    chat_channel = channel.lands_in
    assert chat_channel
    fact = MessageReceived(contact=ContactInfo(external_id=sender, name=sender), text=text)
    return conversations.receive(channel, [conversations.Incoming(fact=fact, chat_channel=chat_channel)])[
        0
    ].conversation


def answers(chat: Conversation, text: str) -> Message:
    message = relay.hand_in(conversation_id=chat.pk, text=text, author=boris(chat.chat_channel)).message
    assert message
    return message


def feed(client: Client, channel: ApiChannel, **asked: Any) -> dict[str, Any]:
    answer = client.get(f"{channel.phone_page_path}messages", asked)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return [message["text"] for message in found["messages"]]


def test_the_phone_opens_without_a_login_by_its_address_alone(client: Client, channel: ApiChannel) -> None:
    page = client.get(channel.phone_page_path)

    assert page.status_code == 200
    assert channel.webhook_path in page.content.decode()
    assert client.get("/phone/wrong/").status_code == 404
    assert client.get("/phone/wrong/messages?from=anna").status_code == 404


def test_only_a_provider_with_a_phone_has_one(client: Client) -> None:
    other = ApiChannelFactory(kind="acebot", redirect_url="https://example.com/hook")

    assert other.phone_page_path == ""
    assert client.get(f"/phone/{other.path_token}/").status_code == 404
    assert client.get(f"/phone/{other.path_token}/messages?from=anna").status_code == 404


def test_an_answer_is_on_the_phone_once_it_was_handed_over(
    client: Client, channel: ApiChannel, chat: Conversation
) -> None:
    answers(chat, "Добрый день!")
    before = feed(client, channel, **{"from": "anna"})

    outbox.drain()

    assert texts(before) == ["Здравствуйте"]
    after = feed(client, channel, **{"from": "anna"})
    assert texts(after) == ["Здравствуйте", "Добрый день!"]
    assert [message["mine"] for message in after["messages"]] == [True, False]
    assert after["messages"][1]["status"] == "sent"


def test_a_failed_message_and_a_notice_are_not_on_the_phone(
    client: Client, channel: ApiChannel, chat: Conversation
) -> None:
    message = answers(chat, "Не дойдёт")
    Message.objects.filter(pk=message.pk).update(status=Message.Status.FAILED)
    conversations.notice(chat, "not_delivered", why_code="gave_up")

    assert texts(feed(client, channel, **{"from": "anna"})) == ["Здравствуйте"]


def test_each_client_sees_their_own_messages_alone(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    writes(channel, "igor", "Счёт?")
    writes(ApiChannelFactory(), "anna", "На другом телефоне")

    assert texts(feed(client, channel, **{"from": "anna"})) == ["Здравствуйте"]
    assert texts(feed(client, channel, **{"from": "igor"})) == ["Счёт?"]
    for nobody in ("", "nobody", "a\0b"):
        assert texts(feed(client, channel, **{"from": nobody})) == []


def test_after_gives_what_came_later(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    first = Message.objects.get()
    writes(channel, "anna", "Ау")

    assert texts(feed(client, channel, **{"from": "anna", "after": first.pk})) == ["Ау"]
    assert texts(feed(client, channel, **{"from": "anna", "after": "x"})) == ["Здравствуйте", "Ау"]


def test_what_the_phone_posts_is_what_the_portal_understands(client: Client, channel: ApiChannel) -> None:
    """The events as static/phone.js writes them, through the webhook it writes them to."""
    sender = {"id": "phone-1", "name": "Анна", "phone": "79000001234"}
    now = int(timezone.now().timestamp())
    post(client, channel, {"type": "message", "id": "a-b-c", "from": sender, "text": "Добрый день", "timestamp": now})
    chat = Conversation.objects.get(contact__external_id="phone-1")
    message = answers(chat, "Здравствуйте!")
    outbox.drain()

    post(client, channel, {"type": "status", "message_id": message.pk, "status": "delivered", "timestamp": now})
    post(client, channel, {"type": "status", "message_id": message.pk, "status": "read", "timestamp": now})
    post(client, channel, {"type": "clock", "from": {"id": "phone-1"}, "hours": 25})

    message.refresh_from_db()
    assert message.status == Message.Status.READ
    found = feed(client, channel, **{"from": "phone-1"})
    assert found["messages"][0]["external_id"] == "a-b-c"
    assert found["window"]["state"] == "closed"


def test_the_phone_is_told_of_its_window(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    window = feed(client, channel, **{"from": "anna"})["window"]

    assert window["state"] == "open"
    assert timezone.now() + timedelta(hours=23) < timezone.datetime.fromisoformat(window["expires_at"])
    assert feed(client, channel, **{"from": "nobody"})["window"] == {"state": "none"}


def post(client: Client, channel: ApiChannel, *events: dict[str, Any]) -> None:
    answer = client.post(channel.webhook_path, json.dumps({"events": events}), content_type="application/json")
    assert answer.status_code == 200
    inbox.drain()
