"""The training phone: shows delivered messages, only to users who may see the channel's chats."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.inbox import processing
from bridge.models import Conversation, Message, WebhookEvent
from bridge.notices import create_notice
from bridge.outbox import dispatcher
from channels_setup.models import ApiChannel
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ConversationFactory,
    MessageFactory,
    boris,
    gleb,
    vera,
)
from tests.pages import page_html
from tests.scenarios.sending import boris_answers, receive_text

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Телефон")


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "anna", "Здравствуйте")


def writes(channel: ApiChannel, sender: str, text: str) -> Conversation:
    return receive_text(channel, text, who=sender, name=sender).conversation


def feed(client: Client, channel: ApiChannel, **parameters: Any) -> dict[str, Any]:
    client.force_login(boris(channel.default_chat_channel))
    answer = client.get(f"{channel.phone_page_path}messages", parameters)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return [message["text"] for message in found["messages"]]


@pytest.mark.parametrize(("who", "status"), [("vera", 200), ("boris", 200), ("gleb", 404), ("nobody", 403)])
def test_the_phone_requires_access_to_the_channels_chats(
    client: Client, channel: ApiChannel, who: str, status: int
) -> None:
    path, other = channel.phone_page_path, ApiChannelFactory()
    people = {
        "vera": vera,
        "boris": lambda: boris(channel.default_chat_channel, other.default_chat_channel, channel.default_chat_channel),
        "gleb": gleb,
    }
    if who in people:
        client.force_login(people[who]())

    page = client.get(path)

    assert page.status_code == (302 if who == "nobody" else status)
    assert client.get(f"{path}messages?from=anna").status_code == status
    posted = client.post(f"{path}post", message_from("anna"), content_type="application/json")
    assert posted.status_code == status
    assert WebhookEvent.objects.filter(api_channel=channel).exists() == (status == 200)


@pytest.mark.parametrize("pk", ["wrong", "0", "9" * 30, "9" * 4400])
def test_other_channels_have_no_phone(client: Client, pk: str) -> None:
    client.force_login(vera())

    for path in (f"/phone/{pk}/", f"/phone/{pk}/messages?from=anna"):
        assert client.get(path).status_code == 404
    assert client.post(f"/phone/{pk}/post", b"{}", content_type="application/json").status_code == 404


def test_the_webhook_address_is_on_no_page_for_operators(client: Client, channel: ApiChannel) -> None:
    client.force_login(boris(channel.default_chat_channel))

    page = page_html(client, channel.phone_page_path)

    assert channel.path_token not in page and "/webhooks/" not in page


def test_the_phone_posts_with_a_csrf_token_only(channel: ApiChannel) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boris(channel.default_chat_channel))
    path, body = f"{channel.phone_page_path}post", message_from("anna")
    client.get(channel.phone_page_path)
    token = client.cookies["csrftoken"].value

    assert client.post(path, body, content_type="application/json").status_code == 403
    sent = client.post(path, body, content_type="application/json", headers={"x-csrftoken": token})
    assert sent.status_code == 200
    assert client.post(path, b"x" * 4_194_305, "application/json", headers={"x-csrftoken": token}).status_code == 413
    assert client.get(path).status_code == 405


def message_from(sender: str) -> bytes:
    event = {"type": "message", "id": "1", "from": {"id": sender}, "text": "Здравствуйте"}
    return json.dumps({"events": [event]}).encode()


def test_only_a_provider_with_a_phone_has_one(client: Client) -> None:
    client.force_login(vera())
    other = ApiChannelFactory(kind="acebot", redirect_url="https://example.com/hook")

    assert other.phone_page_path == ""
    assert client.get(f"/phone/{other.pk}/").status_code == 404
    assert client.get(f"/phone/{other.pk}/messages?from=anna").status_code == 404


def test_a_reply_appears_on_the_phone_after_its_delivery(
    client: Client, channel: ApiChannel, chat: Conversation
) -> None:
    boris_answers(chat, "Добрый день!")
    before = feed(client, channel, **{"from": "anna"})

    dispatcher.send_due_deliveries()

    assert texts(before) == ["Здравствуйте"]
    after = feed(client, channel, **{"from": "anna"})
    assert texts(after) == ["Здравствуйте", "Добрый день!"]
    assert [message["mine"] for message in after["messages"]] == [True, False]
    assert after["messages"][1]["status"] == "sent"


def test_a_failed_message_and_a_notice_are_not_on_the_phone(
    client: Client, channel: ApiChannel, chat: Conversation
) -> None:
    message = boris_answers(chat, "Не дойдёт")
    Message.objects.filter(pk=message.pk).update(status=Message.Status.FAILED)
    create_notice(chat, "not_delivered", why_code="retries_exhausted")

    assert texts(feed(client, channel, **{"from": "anna"})) == ["Здравствуйте"]


def test_each_client_sees_only_their_own_messages(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    writes(channel, "igor", "Счёт?")
    writes(ApiChannelFactory(), "anna", "На другом телефоне")

    assert texts(feed(client, channel, **{"from": "anna"})) == ["Здравствуйте"]
    assert texts(feed(client, channel, **{"from": "igor"})) == ["Счёт?"]
    for nobody in ("", "nobody", "a\0b"):
        assert texts(feed(client, channel, **{"from": nobody})) == []


def test_the_after_parameter_returns_newer_messages(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    first = Message.objects.get()
    writes(channel, "anna", "Ау")

    assert texts(feed(client, channel, **{"from": "anna", "after": first.pk})) == ["Ау"]
    assert texts(feed(client, channel, **{"from": "anna", "after": "x"})) == ["Здравствуйте", "Ау"]


def test_the_portal_understands_every_event_of_the_phone(client: Client, channel: ApiChannel) -> None:
    """The events are written as static/training-phone.js does, and posted to the same URL."""
    sender = {"id": "phone-1", "name": "Анна", "phone": "79000001234"}
    now = int(timezone.now().timestamp())
    post(client, channel, {"type": "message", "id": "a-b-c", "from": sender, "text": "Добрый день", "timestamp": now})
    chat = Conversation.objects.get(contact__external_id="phone-1")
    message = boris_answers(chat, "Здравствуйте!")
    dispatcher.send_due_deliveries()

    post(client, channel, {"type": "status", "message_id": message.pk, "status": "delivered", "timestamp": now})
    post(client, channel, {"type": "status", "message_id": message.pk, "status": "read", "timestamp": now})
    post(client, channel, {"type": "clock", "from": {"id": "phone-1"}, "hours": 25})

    message.refresh_from_db()
    assert message.status == Message.Status.READ
    found = feed(client, channel, **{"from": "phone-1"})
    assert found["messages"][0]["external_id"] == "a-b-c"
    assert found["window"]["state"] == "closed"


def test_the_phone_shows_its_window(client: Client, channel: ApiChannel, chat: Conversation) -> None:
    window = feed(client, channel, **{"from": "anna"})["window"]

    assert window["state"] == "open"
    assert timezone.now() + timedelta(hours=23) < timezone.datetime.fromisoformat(window["expires_at"])
    assert feed(client, channel, **{"from": "nobody"})["window"] == {"state": "none"}


def post(client: Client, channel: ApiChannel, *events: dict[str, Any]) -> None:
    client.force_login(boris(channel.default_chat_channel))
    answer = client.post(
        f"{channel.phone_page_path}post", json.dumps({"events": events}), content_type="application/json"
    )
    assert answer.status_code == 200
    processing.process_inbox()


def test_the_phone_hides_chats_that_its_user_may_not_see(client: Client, channel: ApiChannel) -> None:
    """Two chat channels may share one API channel."""
    other = ChatChannelFactory()
    other.watchers.add(channel)
    chat = ConversationFactory(api_channel=channel, chat_channel=other)
    MessageFactory(conversation=chat, text="for others")

    found = feed(client, channel, **{"from": chat.contact.external_id})

    assert found["messages"] == [] and found["window"] == {"state": "none"}
