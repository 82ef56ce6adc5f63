"""Who else has a chat open: marks in a real Valkey, left by the poll."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from bridge.desk.live import presence
from bridge.models import Conversation
from tests.factories import ConversationFactory, boris, gleb, vera

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture(autouse=True)
def a_clean_store() -> None:
    presence.store.client.flushdb()


@pytest.fixture
def chat() -> Conversation:
    made: Conversation = ConversationFactory()
    return made


def before(user: Any) -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(user)
    return client


def polled(client: Client, chat: Conversation, more: str = "") -> dict[str, Any]:
    """Return what the poll reports of other operators, or an empty dict without changes."""
    answer = client.get(f"/chats/updates/?chat={chat.pk}{more}")
    return dict(answer.json().get("others", {})) if answer.status_code == 200 else {}


def test_two_operators_in_one_chat_see_each_other(chat: Conversation) -> None:
    desk, admin = before(boris(chat.chat_channel)), before(vera())
    assert polled(desk, chat) == {}

    said = polled(admin, chat)

    assert said["sentence"] == "boris has this chat open too."
    assert polled(desk, chat)["sentence"] == "vera has this chat open too."
    assert polled(admin, chat, f"&others={said['version']}") == {}


def test_a_typing_user_is_shown_until_they_stop(chat: Conversation) -> None:
    desk, admin = before(boris(chat.chat_channel)), before(vera())
    polled(desk, chat, "&writes=1")

    writing = polled(admin, chat)
    polled(desk, chat)

    assert writing["sentence"] == "boris is writing here." and writing["writing"]
    assert polled(admin, chat, f"&others={writing['version']}")["sentence"] == "boris has this chat open too."


def test_users_who_left_or_look_elsewhere_are_not_shown(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, admin = before(boris(chat.chat_channel)), before(vera())
    polled(desk, chat, "&away=1")
    assert polled(admin, chat) == {}

    monkeypatch.setattr(presence, "PRESENT_SECONDS", -1.0)
    polled(desk, chat)

    assert polled(admin, chat) == {}
    assert polled(admin, chat, "&others=abc") == {"version": "", "sentence": "", "writing": False}


def test_a_user_without_access_neither_sees_nor_is_seen(chat: Conversation) -> None:
    stranger, desk = before(gleb()), before(boris(chat.chat_channel))

    assert stranger.get(f"/chats/updates/?chat={chat.pk}").status_code == 404

    assert polled(desk, chat) == {}


def test_the_desk_works_without_valkey(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = presence.redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(presence.store, "client", nowhere)
    monkeypatch.setattr(presence.store, "paused_until", 0.0)

    answer = before(boris(chat.chat_channel)).get(f"/chats/updates/?chat={chat.pk}")

    assert answer.status_code == 200 and "others" not in answer.json() and "thread" in answer.json()
